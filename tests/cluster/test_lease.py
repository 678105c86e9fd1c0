"""The Lease on a real API server: two processes, one of them killed or stopped in the midst of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shadow.processes import Running, Stage
from tests.cluster.api_server import ApiServer
from tests.cluster.operators import operator_account

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("api-server")]
FAILOVER_SECONDS = 20.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path / "logs", dict(os.environ)) as stage:
        yield stage


def acts(log: Path) -> list[tuple[float, str]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [(float(moment), who) for moment, who in (line.split() for line in lines)]


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_the_second_takes_over_within_twenty_seconds_and_the_two_never_act_at_once(
    api_server: ApiServer, namespace: str, stage: Stage, tmp_path: Path, end: signal.Signals
) -> None:
    """A process that was stopped goes on later: it must find that its time is over."""
    config, log = operator_account(api_server, namespace), tmp_path / "acts"

    def holder(name: str) -> Running:
        command = (sys.executable, "-m", "tests.cluster.holder", config, namespace, name, log)
        return stage.start(name, [str(part) for part in command], (tmp_path / name).exists)

    first = holder("first")
    until(lambda: acts(log), 60)
    holder("second")
    first.process.send_signal(end)
    killed = time.time()
    until(lambda: any(who == "second" for _, who in acts(log)), 90)
    if end == signal.SIGSTOP:
        first.process.send_signal(signal.SIGCONT)
        until(lambda: (acts(log) or [(0.0, "")])[-1][0] > killed + 25, 90)

    found = acts(log)
    [begin] = [moment for moment, who in found if who == "second"][:1]
    print(f"{end.name}: the second began {begin - killed:.1f} s later")
    assert begin - killed < FAILOVER_SECONDS
    # SIGCONT: it may still have written the line it was at, in the old time.
    assert [moment for moment, who in found if who == "first" and moment >= begin] == []
