"""What `evaluate_job` ranks, and that users of whom nothing is known get what is popular, in lists and numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.mlflow_stores import copied
from training.content import ContentSettings
from training.data_set import DataSet
from training.experiment import Experiment
from training.ials import IalsSettings
from training.interactions import POSITIVE, Movie
from training.jobs import EvaluationReport, evaluate_job
from training.popularity import ALL_TIME
from training.references import REFERENCES
from training.settings import Machine
from training.split import split_by_time
from training.synthetic import synthetic_interactions
from training.task import LIST_LENGTH

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
TABLE = synthetic_interactions(4, users=200, items=60, per_user=20)
UNRATED = "a film that nobody has rated"
MOVIES = {item: Movie(item, ("A genre",), None) for item in (*TABLE.item_ids, UNRATED)}
DATA = DataSet(TABLE, split_by_time(TABLE), MOVIES, "digest", "made up")
MODEL = Experiment(name="small", about="for the test", ials=IalsSettings(dimension=4, sweeps=2))
HYBRID = Experiment(name="hybrid", about="for the test", ials=MODEL.ials, content=ContentSettings(weight=0.5))
LEARNED = ("small", "hybrid", *REFERENCES)


def ignored(sweep: int, loss: float) -> None:
    """Nobody watches the sweeps."""


@pytest.fixture(scope="module")
def evaluated(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EvaluationReport, list[dict[str, Any]]]:
    """The report, and the rows of all models and users."""
    directory = tmp_path_factory.mktemp("jobs")
    path, store = directory / "users.parquet", copied(migrated, directory)
    models = [MODEL, HYBRID]
    machines = {each.name: Machine(1, "cpu") for each in models}
    report = evaluate_job(DATA, models, store, machines, {each.name: ignored for each in models}, path, references=True)
    return report, pq.read_table(path).to_pylist()


def most_liked() -> list[str]:
    """Too few positives in 30 days to go by, so those of all time; counted here, equal ones in the order of ids."""
    before = DATA.split.before_test
    liked = Counter(before.item_ids[item] for item in before.item[before.rating >= POSITIVE])
    known = {before.item_ids[item] for item in before.item}
    return sorted(known, key=lambda item: (-liked[item], item))[:LIST_LENGTH]


def test_cold_users_get_what_is_popular_whatever_the_model(
    evaluated: tuple[EvaluationReport, list[dict[str, Any]]],
) -> None:
    cold = [row for row in evaluated[1] if not row["warm"] and row["model"] in LEARNED]
    users = {row["user_id"] for row in cold}
    assert len(users) > 10
    assert len(cold) == len(LEARNED) * len(users)
    popular = most_liked()
    # Nothing that an order by id would give too.
    assert popular != sorted(popular)
    assert {tuple(row["items"]) for row in cold} == {tuple(popular)}


def test_the_numbers_of_cold_users_are_those_of_popularity_and_those_of_warm_users_are_not(
    evaluated: tuple[EvaluationReport, list[dict[str, Any]]],
) -> None:
    models = {model.name: model for model in evaluated[0].models}
    popular = models[ALL_TIME]
    assert popular.cold is not None
    assert popular.cold.map_at_10 > 0
    for name in LEARNED:
        assert models[name].cold == popular.cold
        assert models[name].warm != popular.warm


def test_a_film_that_nobody_has_rated_is_ranked_for_the_model_that_has_it_and_for_no_other(
    evaluated: tuple[EvaluationReport, list[dict[str, Any]]],
) -> None:
    """The service shows what is in the bundle."""
    assert {row["model"] for row in evaluated[1] if UNRATED in row["items"]} == {"hybrid"}
