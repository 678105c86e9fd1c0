"""Helm and its tools: tests are skipped where they are not installed, but not in CI on a machine that provides them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ci_machine

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Run:
    """Runs one of the tools in the repository's root; skips, or fails in CI, when it is not installed."""

    def command(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        tool = str(arguments[0])
        if shutil.which(tool) is None:
            reason = f"{tool} is not on the PATH"
            if ci_machine.provides():
                pytest.fail(reason)
            pytest.skip(reason)
        text = [str(each) for each in arguments]
        return subprocess.run(text, input=stdin, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)

    return command
