"""What `evaluate_job` gives users of whom nothing is known: the lists and the numbers of what is popular."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

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
DATA = DataSet(
    TABLE, split_by_time(TABLE), {item: Movie(item, ("A genre",), None) for item in TABLE.item_ids}, "digest", "made up"
)
MODEL = Experiment(name="small", about="for the test", ials=IalsSettings(dimension=4, sweeps=2))
LEARNED = ("small", *REFERENCES)


@pytest.fixture
def evaluated(store: str, tmp_path: Path) -> tuple[EvaluationReport, list[dict[str, Any]]]:
    """The report, and the rows of all models and users."""
    path = tmp_path / "users.parquet"
    machines, sweeps = {"small": Machine(1, "cpu")}, {"small": lambda sweep, loss: None}
    report = evaluate_job(DATA, [MODEL], store, machines, sweeps, path, references=True)
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
