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
from tests.ports import free_port

OFFSETS = tuple(port for _, port in Ports(0).all())


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


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/understudy"])
def test_a_directory_that_cannot_be_made_is_told_in_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(demo.demo, ["--dir", str(tmp_path / where), "--port", str(free_port(OFFSETS))])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert where in result.output


@pytest.mark.parametrize("option", ["--port=0", "--port=65530", "--seconds=-1", "--max-rps=0"])
def test_an_impossible_option_is_a_usage_error_before_any_work(tmp_path: Path, option: str) -> None:
    result = CliRunner().invoke(demo.demo, ["--dir", str(tmp_path / "run"), option])
    assert result.exit_code == 2
    assert option.partition("=")[0] in result.output
    assert not (tmp_path / "run").exists()


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


def test_a_port_in_use_is_told_before_any_work(tmp_path: Path) -> None:
    base = free_port(OFFSETS)
    with socket.create_server(("127.0.0.1", base)):
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
