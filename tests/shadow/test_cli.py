"""The root command: fast because lazy, and complete."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from shadow.cli import COMMANDS, main

HEAVY = ("torch", "mlflow", "scipy", "pydantic", "bentoml", "faiss", "statsmodels", "pandas", "pyarrow", "duckdb")


def modules_after(*arguments: str) -> set[str]:
    """The top-level modules that are loaded after `understudy ARGUMENTS` in a fresh process."""
    program = (
        "import sys, runpy\n"
        f"sys.argv = ['understudy', {', '.join(map(repr, arguments))}]\n"
        "try:\n    runpy.run_module('shadow', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def test_help_names_every_command_with_its_line() -> None:
    result = CliRunner().invoke(main, ["--help"], terminal_width=160)
    assert result.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert f"{name} " in result.output
        assert line in result.output


def test_help_imports_no_heavy_library() -> None:
    assert not modules_after("--help") & set(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_imports_no_heavy_library(name: str) -> None:
    assert not modules_after(name, "--help") & set(HEAVY)


@pytest.mark.parametrize(("name", "where"), [(name, where) for name, (where, _) in COMMANDS.items()])
def test_every_name_in_the_table_leads_to_a_command(name: str, where: str) -> None:
    module, attribute = where.split(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command), name


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["rehearse"])
    assert result.exit_code == 2
    assert "rehearse" in result.output
