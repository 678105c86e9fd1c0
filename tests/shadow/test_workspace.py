"""What a story empties, and how it is interrupted."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from shadow import workspace
from shadow.processes import StepError
from shadow.workspace import MARK, Interrupted, interruptible, prepared


def test_a_directory_of_the_demos_own_is_emptied(tmp_path: Path) -> None:
    (tmp_path / MARK).touch()
    (tmp_path / "old.json").touch()
    (tmp_path / "bundles" / "champion").mkdir(parents=True)
    with prepared(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_a_directory_in_which_a_demo_runs_is_refused_and_left_alone(tmp_path: Path) -> None:
    with prepared(tmp_path):
        (tmp_path / "facts.parquet").touch()
        with pytest.raises(StepError, match=r"a demo runs in it"), prepared(tmp_path):
            pass
        assert (tmp_path / "facts.parquet").exists()
    with prepared(tmp_path):
        assert not (tmp_path / "facts.parquet").exists()


def test_a_directory_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StepError, match=r"not made by the demo.*--dir"), prepared(tmp_path):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_too_little_disk_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "DISK_BYTES", 10**18)
    with pytest.raises(StepError, match=r"GB free, 1000000000 GB needed"), prepared(tmp_path / "new"):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_story_and_a_second_one_does_not_disturb_the_stopping(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stopped = []

    def story() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            stopped.append(True)

    with pytest.raises(Interrupted) as caught, interruptible():
        story()
    assert stopped == [True]
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
