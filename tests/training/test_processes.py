"""Runs of processes that ended without a word: told by their process, and never those of a living or an unknown one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_models_cli import document
from tests.training.test_tracking import trained
from training import mlflow_store
from training.processes import MACHINE, NUMBER, STARTED, is_gone, started, this_process

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
TRAINING = """
import sys
from pathlib import Path
from tests.training.test_tracking import trained
from training.command_parts import told

def swept(number, loss):
    print("swept", flush=True)
    sys.stdin.read()

told(trained)(sys.argv[1], Path(sys.argv[2]), sweep=swept)
"""


def training(store: str, bundle: Path) -> subprocess.Popen[str]:
    """A process that trains and waits after its first sweep."""
    command = [sys.executable, "-c", TRAINING, store, str(bundle)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "swept\n"
    return process


def statuses(store: str) -> list[str]:
    client: Any = mlflow_store.client(store)
    runs = client.search_runs([client.get_experiment_by_name("training").experiment_id])
    return [run.info.status for run in sorted(runs, key=lambda run: run.info.start_time)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_training_that_is_told_to_end_is_a_killed_run(store: str, tmp_path: Path, number: signal.Signals) -> None:
    with training(store, tmp_path / "bundle") as process:
        process.send_signal(number)
        assert process.wait() != 0
    assert statuses(store) == ["KILLED"]


def test_a_killed_one_is_named_and_closed_by_the_next_and_a_living_one_is_not(store: str, tmp_path: Path) -> None:
    with training(store, tmp_path / "killed") as killed:
        killed.kill()
        killed.wait()
    with training(store, tmp_path / "living") as living:
        # The first training of all left its run; the second closed it and is going on.
        assert statuses(store) == ["KILLED", "RUNNING"]
        assert document(store, "list")["problems"] == []
        living.kill()
        living.wait()
    (problem,) = document(store, "list")["problems"]
    assert "says RUNNING, but its process is gone: the next understudy train marks it as KILLED" in problem
    trained(store, tmp_path / "next")
    assert statuses(store) == ["KILLED", "KILLED", "FINISHED"]
    assert document(store, "list")["problems"] == []


def test_a_run_of_which_nothing_is_known_is_left_alone_and_named_after_a_day(store: str, tmp_path: Path) -> None:
    trained(store, tmp_path / "first")
    client: Any = mlflow_store.client(store)
    experiment = client.get_experiment_by_name("training").experiment_id
    elsewhere = {MACHINE: "another", NUMBER: "1", STARTED: "1"}
    old = client.create_run(experiment, start_time=1_000, tags=elsewhere, run_name="old").info.run_id
    client.create_run(experiment, tags=elsewhere, run_name="new")
    trained(store, tmp_path / "second")
    assert sorted(statuses(store)) == ["FINISHED", "FINISHED", "RUNNING", "RUNNING"]
    (problem,) = document(store, "list")["problems"]
    assert f"run {old[:8]} (old) says RUNNING for more than a day" in problem
    assert f"set_terminated('{old}', 'KILLED')" in problem


def test_a_process_is_gone_when_its_number_is_free_or_anothers() -> None:
    ours = this_process()
    assert not is_gone(ours)
    assert is_gone(ours | {STARTED: "1"})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        theirs = ours | {NUMBER: str(child.pid), STARTED: started(child.pid)}
        assert not is_gone(theirs)
        child.kill()
        # Until it is waited for, its number is taken; it is gone all the same.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(theirs)
    assert is_gone(theirs)
    assert not is_gone(theirs | {MACHINE: "another"})
    assert not is_gone({})
