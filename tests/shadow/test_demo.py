"""The story's own decisions: what it empties, how it is interrupted, when it distrusts the gate."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadow import demo
from shadow.demo import MARK, Interrupted, held_for_lists, interruptible, prepare
from shadow.processes import StepError
from shadow.rehearsal import Ports


def test_a_directory_of_the_demos_own_is_emptied(tmp_path: Path) -> None:
    (tmp_path / MARK).touch()
    (tmp_path / "old.json").touch()
    prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_a_directory_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StepError, match=r"not made by the demo.*--dir"):
        prepare(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_too_little_disk_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DISK_BYTES", 10**18)
    with pytest.raises(StepError, match=r"GB free, 1000000000 GB needed"):
        prepare(tmp_path / "new")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


def test_a_port_in_use_is_told_before_any_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        base = taken.getsockname()[1]
        result = CliRunner().invoke(demo.demo, ["--dir", str(tmp_path / "run"), "--port", str(base)])
    assert result.exit_code == 1
    assert f"{base} (router)" in result.output
    assert not (tmp_path / "run").exists()


def test_all_ports_of_a_set_are_distinct() -> None:
    numbers = [number for _, number in Ports(8700).all()]
    assert len(set(numbers)) == len(numbers) == 6


def test_only_guardrails_on_lists_make_the_gate_distrusted() -> None:
    def metric(name: str, decision: str) -> dict[str, str]:
        return {"name": name, "decision": decision}

    latency = {"metrics": [metric("latency_p95", "hold"), metric("long_tail_share", "pass")]}
    lists = {"metrics": [metric("latency_p95", "pass"), metric("long_tail_share", "hold")]}
    assert held_for_lists(latency) == []
    assert held_for_lists(lists) == ["long_tail_share"]
