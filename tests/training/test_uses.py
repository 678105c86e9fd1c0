"""The test period is scored once per model and data: also by processes that are killed, and by several at once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bentos.registered import ModelVersion, Tag
from tests.mlflow_stores import opened
from tests.training.test_models_cli import document
from tests.training.test_promotions_at_once import Promoter
from tests.training.test_tracking import EXPERIMENT
from training import mlflow_store, tracking
from training.data_set import DataSet
from training.errors import ConfigurationError
from training.experiment import Experiment, ExportSettings
from training.ials import IalsSettings
from training.jobs import EvaluationReport, evaluate_job
from training.protocols import rows_of
from training.settings import Machine
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies
from training.uses import LOG, begin, uses_of

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
ROUNDS = 30
MADE = synthetic_interactions(4, users=200, items=60, per_user=20)
DATA = DataSet(MADE, split_by_time(MADE), synthetic_movies(MADE), "0123456789ab", "made-up")
ONE = Experiment(name="m", about="", ials=IalsSettings(dimension=4))
OTHER = Experiment(name="o", about="", ials=IalsSettings(dimension=8))
DIGEST = DATA.digest
EVALUATION = """
import sys
from pathlib import Path
from tests.training.test_uses import evaluated

def swept(number, loss):
    print("swept", flush=True)
    sys.stdin.read()

evaluated(sys.argv[1], *map(Path, sys.argv[2:]), **({} if sys.argv[2:] else {"sweep": swept}))
"""


def silent(number: int, loss: float) -> None:
    pass


def evaluated(
    store: str, per_user: Path | None = None, again: str | None = None, sweep: Callable[[int, float], None] = silent
) -> EvaluationReport:
    """One model on the test period."""
    name = EXPERIMENT.name
    return evaluate_job(DATA, [EXPERIMENT], store, {name: Machine()}, {name: sweep}, per_user, False, again)


@contextmanager
def evaluating(store: str, *per_user: str) -> Iterator[subprocess.Popen[str]]:
    """A process that evaluates: without `per_user` it stops after its first sweep."""
    command = [sys.executable, "-c", EVALUATION, store, *per_user]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def runs(store: str, kind: str = "evaluation") -> list[Any]:
    client: Any = mlflow_store.client(store)
    found = client.search_runs([client.get_experiment_by_name(kind).experiment_id])
    return sorted(found, key=lambda run: run.info.start_time)


def statuses(store: str) -> list[str]:
    return [run.info.status for run in runs(store)]


def ensure_refused_then_again(store: str) -> None:
    assert statuses(store) == ["RUNNING"]
    (problem,) = document(store, "list")["problems"]
    assert "its process is gone: the next understudy evaluate marks it as KILLED" in problem
    with pytest.raises(ConfigurationError, match=r"scored on the test period .* cut short counts.*--again"):
        evaluated(store)
    assert statuses(store) == ["RUNNING"]
    evaluated(store, again="the first was killed")
    assert statuses(store) == ["KILLED", "FINISHED"]
    assert document(store, "list")["problems"] == []


def test_an_evaluation_that_is_killed_before_its_scores_are_kept_is_a_use(store: str, tmp_path: Path) -> None:
    """All scores are computed where it is killed: a pipe is in the place of the file that they go to."""
    os.mkfifo(tmp_path / "users.parquet.new")
    command = evaluating(store, str(tmp_path / "users.parquet"))
    with command as process, (tmp_path / "users.parquet.new").open("rb"):
        # It has opened the pipe for writing.
        process.kill()
        process.wait()
    assert not (tmp_path / "users.parquet").exists()
    ensure_refused_then_again(store)


def test_an_evaluation_that_is_killed_in_its_fit_is_a_use(store: str) -> None:
    with evaluating(store) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "swept\n"
        # It is known from the very call that made the run.
        with pytest.raises(ConfigurationError, match="--again"):
            evaluated(store)
        process.kill()
    ensure_refused_then_again(store)


def test_a_run_counts_without_its_record_and_a_record_without_its_run(store: str) -> None:
    evaluated(store)
    client: Any = mlflow_store.client(store)
    (run,) = runs(store)
    assert (run.data.tags["use"], run.info.status) == ("1", "FINISHED")
    assert run.data.metrics["map_at_10"] >= 0
    client.delete_registered_model(LOG)
    with pytest.raises(ConfigurationError, match=rf"on 20\d\d-\d\d-\d\d \(run {run.info.run_id[:8]}, FINISHED\)"):
        evaluated(store)
    evaluated(store, again="a new log")
    for each in runs(store):
        client.delete_run(each.info.run_id)
    with pytest.raises(ConfigurationError, match=rf"use 1 in {LOG}, MLflow experiment evaluation"):
        evaluated(store)


def test_an_evaluation_that_breaks_is_a_failed_run_and_a_use(store: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        evaluated(store, tmp_path / "nowhere" / "users.parquet")
    assert statuses(store) == ["FAILED"]
    assert "nowhere" in runs(store)[0].data.tags["error"]
    with pytest.raises(ConfigurationError, match="--again"):
        evaluated(store)


def test_the_runs_of_protocols_are_open_before_their_rows(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(*rest: object) -> None:
        seen.append([run.info.status for run in runs(store, "protocols")])
        raise KeyboardInterrupt

    monkeypatch.setattr("training.protocols.row_of", look)
    with pytest.raises(KeyboardInterrupt):
        next(rows_of(DATA, EXPERIMENT, None, Machine(), store, None))
    assert seen == [["RUNNING"]]
    assert [run.info.status for run in runs(store, "protocols")] == ["KILLED"]
    for each in (None, " "):
        with pytest.raises(ConfigurationError, match="--again"):
            next(rows_of(DATA, EXPERIMENT, None, Machine(), store, each))


def test_a_model_is_known_by_its_settings_and_data_whatever_its_name(store: str) -> None:
    begin(store, "evaluation", [ONE], DIGEST, None)
    with pytest.raises(ConfigurationError, match=r"m with these settings was scored .* on 20\d\d-\d\d-\d\d .*--again"):
        begin(store, "protocols", [OTHER, ONE], DIGEST, None)
    renamed = Experiment(name="n", about="another", ials=ONE.ials, export=ExportSettings(min_history=9))
    with pytest.raises(ConfigurationError, match="n with these settings was scored"):
        begin(store, "evaluation", [renamed], DIGEST, None)
    assert begin(store, "evaluation", [OTHER], DIGEST, None).number == 2
    assert begin(store, "evaluation", [ONE], "other data", None).number == 3
    assert begin(store, "evaluation", [ONE], DIGEST, "a reason").again == "a reason"


def version(number: int, models: str, data_hash: str = "d", again: str = "") -> ModelVersion:
    tags = {"models": models, "data_hash": data_hash, "kind": "evaluation", "by": "ann", "nonce": str(number)}
    tags |= {"again": again} if again else {}
    return ModelVersion(LOG, str(number), tags=[Tag(key, value) for key, value in tags.items()])


@pytest.mark.parametrize(
    ("versions", "counted"),
    [
        ([version(1, "a"), version(2, "a")], [1]),
        ([version(1, "a"), version(2, "a", "e"), version(3, "b")], [1, 2, 3]),
        ([version(1, "a"), version(2, "a", again="why"), version(3, "a")], [1, 2]),
        ([version(1, "a", again="why"), version(2, "a")], [1]),
        # All models of a use count or none: what lost by one of them has not used the others.
        ([version(1, "a"), version(2, "a b"), version(3, "b")], [1, 3]),
        ([ModelVersion(LOG, "1"), version(2, "a")], [1, 2]),
    ],
)
def test_a_use_counts_when_none_before_it_that_counts_has_one_of_its_models(
    versions: Sequence[ModelVersion], counted: list[int]
) -> None:
    assert [each.number for each in uses_of(versions) if each.counts] == counted


def test_of_three_processes_that_write_at_once_exactly_one_has_the_use_in_each_of_30_rounds(
    store: str,
) -> None:
    command = [sys.executable, "-m", "tests.training.user_of_test_period", store]
    with ExitStack() as running:
        users = []
        for number in range(3):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            running.enter_context(process)
            running.callback(process.kill)
            users.append(Promoter(process, f"process {number}"))
        assert [each.hear() for each in users] == ["ready"] * 3
        for turn in range(ROUNDS):
            play_round(users, f"data {turn}")
    uses = uses_of(asyncio.run(log_of(store)))
    assert len(uses) == 3 * ROUNDS
    assert [each.data_hash for each in uses if each.counts] == [f"data {turn}" for turn in range(ROUNDS)]


def play_round(users: list[Promoter], data_hash: str) -> None:
    """All have read the log, and none is in it, when they write."""
    for each in users:
        each.tell(data_hash)
    assert [each.hear() for each in users] == ["writing"] * len(users)
    for each in users:
        each.tell("")
    outcomes = [json.loads(each.hear()) for each in users]
    (used,) = [each["use"] for each in outcomes if "use" in each]
    told = [each["told"] for each in outcomes if "told" in each]
    assert len(told) == len(users) - 1
    assert all(f"use {used} in {LOG}" in each for each in told)


async def log_of(store: str) -> list[ModelVersion]:
    async with opened(store) as registry:
        return await registry.versions(LOG)


def test_of_two_whole_evaluations_at_once_one_is_scored(store: str) -> None:
    with ExitStack() as running:
        both = [running.enter_context(evaluating(store)) for _ in range(2)]
        firsts = sorted(each.stdout.readline() for each in both if each.stdout is not None)
    assert firsts == ["", "swept\n"]
    assert len(runs(store)) == 1


def test_models_of_one_command_may_be_alike(store: str) -> None:
    twin = msgspec.structs.replace(ONE, name="twin")
    assert begin(store, "evaluation", [ONE, twin], DIGEST, None).models == [ONE.model_digest]
    assert tracking.evaluated(store, ONE, DIGEST) == ""
