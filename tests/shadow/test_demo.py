"""The story's own decisions: what it refuses before any work, when it distrusts the gate."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadow import demo
from shadow.demo import held_for_lists
from shadow.rehearsal import Ports
from tests.ports import free_port

OFFSETS = tuple(port for _, port in Ports(0).all())


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
