"""A step in the foreground ends with the story that waits for it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shadow import rehearsal
from shadow.processes import Stage, StepError
from shadow.rehearsal import Ports, Rehearsal
from shadow.workspace import Interrupted, interruptible
from tests.ports import free_port


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Rehearsal]:
    with Rehearsal(tmp_path, Ports(0), Stage(tmp_path / "logs", dict(os.environ)), lambda line: None) as rehearsal:
        yield rehearsal


def test_an_interrupted_story_leaves_no_step_behind(played: Rehearsal, tmp_path: Path) -> None:
    """Only this process gets the signal, as from `kill`: the step must be told by it."""
    port = str(free_port())
    # Other tests of this worker may share a server of theirs.
    before = set(psutil.Process().children())

    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if any(each.net_connections("tcp") for each in set(psutil.Process().children()) - before):
                break
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with interruptible(), pytest.raises(Interrupted):
        played.run("redis", "--port", port, "--dir", tmp_path / "redis")
    thread.join()
    assert set(psutil.Process().children()) - before == set()


def test_a_step_that_fails_is_told_with_its_code_and_what_it_printed_is_captured(played: Rehearsal) -> None:
    assert "data" in played.run("--help", capture=True)
    with pytest.raises(StepError, match="`understudy nothing` failed with code 2"):
        played.run("nothing")
    played.run("nothing", accept=(2,))


def test_a_router_that_does_not_come_to_rest_is_told_with_what_it_waits_for(
    played: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer:
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read(self) -> bytes:
            arm = b'{"received":1,"refused":0,"not_eligible":0,"not_sampled":0,"in_flight":1,"outcomes":{}}'
            log = b'{"numbered":0,"written":0,"dropped":0,"queued_bytes":4096}'
            return b'{"incarnation":"a","arms":{"shadow":%b},"pair_log":%b}' % (arm, log)

    monkeypatch.setattr(rehearsal, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(rehearsal.urllib.request, "urlopen", lambda *_, **__: Answer())
    with pytest.raises(StepError, match=r"copies under way \{'shadow': 1\}, 4,096 bytes of records that the shipper"):
        played.counts()
