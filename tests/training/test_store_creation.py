"""Stores that are not there yet, opened by several real processes at once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mlflow_stores import uri_of
from training import store_creation
from training.errors import TrackingError
from training.store_creation import opening

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
ROUNDS = 3
WRITERS = 3


@pytest.fixture(scope="module")
def openers() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of `tests.training.opener` that have MLflow imported."""
    command = [sys.executable, "-m", "tests.training.opener"]
    patient = os.environ | {"UNDERSTUDY_REGISTRY_DEADLINE_S": "120"}
    with ExitStack() as running:
        found = []
        for _ in range(WRITERS):
            process = subprocess.Popen(command, env=patient, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            running.enter_context(process)
            running.callback(process.kill)
            found.append(process)
        assert [hear(each) for each in found] == ["ready"] * WRITERS
        yield found


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_a_store_that_three_make_at_once_is_made_once_for_all_of_them(
    openers: list[subprocess.Popen[str]], tmp_path: Path, turn: int
) -> None:
    for number, each in enumerate(openers):
        tell(each, f"{'registry' if number == turn else 'runs'} {uri_of(tmp_path)}")
    assert {hear(each) for each in openers} == {"1"}
    assert {each.name for each in tmp_path.iterdir()} == {"mlflow.db"}


def test_a_store_that_another_process_does_not_let_go_of_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_creation, "DEADLINE_S", 0.1)
    held = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        told = r"has been opening the MLflow store sqlite:.* --tracking"
        with pytest.raises(TrackingError, match=told), opening(uri_of(tmp_path)):
            pytest.fail("it was opened")
    finally:
        os.close(held)
    with opening(uri_of(tmp_path)):
        pass


def test_a_store_whose_making_broke_off_is_one_line_that_names_it(
    openers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but a text of some length\n" * 100)
    tell(openers[0], f"runs {uri_of(tmp_path)}")
    assert hear(openers[0]).startswith(f"MLflow at {uri_of(tmp_path)}: ")
