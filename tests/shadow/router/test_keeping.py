"""A shipper that ends by itself is started again beside its container's first process, and a stop still stops it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from shadow.router.keeping import pause_after
from tests.shadow.replay.server import until_true

WAIT_SECONDS = 120.0


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A kept shipper that listens."""
    process = start(tmp_path, "file://" + str(tmp_path / "pairs"))
    try:
        until_true((tmp_path / "s.sock").exists, WAIT_SECONDS)
        yield process
    finally:
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.kill()
        process.wait()
        for child in children:
            child.kill()


def start(directory: Path, destination: str) -> subprocess.Popen[bytes]:
    places = ("--socket", str(directory / "s.sock"), "--spool", str(directory / "spool"))
    command = [sys.executable, "-m", "shadow", "shipper", *places, "--destination", destination, "--keep"]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(command, stderr=log)


def child_of(process: subprocess.Popen[bytes]) -> psutil.Process | None:
    found = psutil.Process(process.pid).children()
    return found[0] if found else None


def test_a_killed_shipper_is_started_again_and_its_keeper_lives(kept: subprocess.Popen[bytes], tmp_path: Path) -> None:
    first = child_of(kept)
    assert first is not None
    (tmp_path / "s.sock").unlink()
    first.kill()
    until_true((tmp_path / "s.sock").exists, WAIT_SECONDS)
    second = child_of(kept)
    assert second is not None
    assert second.pid != first.pid
    assert "the shipper ended with -9" in (tmp_path / "log").read_text()
    assert kept.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_the_shipper_end_in_order_and_is_the_end(
    kept: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    child = child_of(kept)
    assert child is not None
    kept.send_signal(number)
    assert kept.wait(WAIT_SECONDS) == 0
    assert not child.is_running()
    assert not (tmp_path / "s.sock").exists()


def test_settings_that_cannot_be_are_the_end_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "ftp://nowhere")
    assert process.wait(WAIT_SECONDS) == 2
    assert "give file:///" in (tmp_path / "log").read_text()


def test_pauses_double_up_to_a_bound_and_begin_anew_after_a_long_life() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(pause_after(pauses[-1], lived=0.5))
    assert pauses[1:] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert pause_after(30.0, lived=601.0) == 1.0
