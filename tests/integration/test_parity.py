"""Offline and online give the same lists: what `understudy evaluate` scores is what the served bundle answers.

Everybody of MovieLens-1M's test period is asked, at the moment that the period begins, by the two routes of the API.
Relevance alone counts, said to the service by a file: evaluation knows no other weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bentos.bundle import load_bundle
from shadow.cli import main
from shadow.demo import CHECKOUT
from shadow.processes import Stage, answers
from shadow.rehearsal import HOST, Rehearsal, command
from shadow.settings import child_environment
from tests.integration.conftest import free_ports
from training import jobs
from training.data_set import DataSet
from training.model import Fitted, fit_model
from training.movielens import ML_1M
from training.settings import TrainingSettings

pytestmark = [
    pytest.mark.data,
    pytest.mark.xdist_group("integration"),
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
CONFIGURATIONS = CHECKOUT / "training" / "configs"
MODELS = ["champion", pytest.param("hybrid", marks=pytest.mark.long)]
UNTIL = "train+validation"
RELEVANCE_ALONE = "diversity = 0.0\nrecency = 0.0\ntail_slot = 0\n"
PATIENCE_MS = "20000"
"""How long features may take while other tests have the cores: a deadline that is missed is another rung's list."""
BATCH = 200
SINGLE = 12
"""Of so many users one is asked by a request of its own too."""


@dataclass(frozen=True)
class Offline:
    """What `understudy evaluate` did: the vectors that it ranked by, and its row for every user of the test period."""

    fitted: Fitted
    before_ids: list[str]
    rows: dict[str, dict[str, Any]]
    seen: dict[str, int]
    """Items that a user had rated before the test period; who rated none is not named."""
    rated: set[str]
    """Items that anybody had rated by then."""
    now_us: int

    @property
    def lists(self) -> dict[str, list[str]]:
        """The first ten by user id."""
        return {user: row["items"][:10] for user, row in self.rows.items()}


@dataclass(frozen=True)
class Online:
    """A served bundle."""

    bundle: Path
    url: str


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    """A name of a configuration; of the hybrid films can be shown that nobody has rated."""
    return str(request.param)


@pytest.fixture(scope="module")
def rehearsal(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """An empty set whose services wait for their features."""
    directory: Path = tmp_path_factory.mktemp("parity")
    environment = child_environment(directory) | {"UNDERSTUDY_FEATURE_BATCH_DEADLINE_MS": PATIENCE_MS}
    with (
        Stage(directory / "logs", environment) as stage,
        Rehearsal(directory, free_ports(), stage, lambda line: None) as rehearsal,
    ):
        yield rehearsal


@pytest.fixture(scope="module")
def offline(rehearsal: Rehearsal, model: str, movielens: Path) -> Offline:
    """`understudy evaluate`, in this process so that the model it fitted can be looked at."""
    fitted: list[Fitted] = []

    def watched(*arguments: Any, **named: Any) -> Fitted:
        fitted.append(fit_model(*arguments, **named))
        return fitted[-1]

    users = rehearsal.directory / "users.parquet"
    out = ("--out", str(rehearsal.directory / "evaluation.json"), "--per-user", str(users))
    tracking = ("--tracking", f"sqlite:///{rehearsal.directory / 'mlflow.db'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "fit_model", watched)
        done = CliRunner().invoke(main, ["evaluate", str(CONFIGURATIONS / f"{model}.toml"), *out, *tracking])
    assert done.exit_code == 0, done.output
    data = DataSet.read(movielens, TrainingSettings.load().data_dir, ML_1M.digest)
    before, now_us = data.fitting(UNTIL)
    rows = {row["user_id"]: row for row in pq.read_table(users).to_pylist() if row["model"] == model}
    counts = np.bincount(before.user, minlength=len(before.user_ids))
    seen = {user: int(counts[row]) for row, user in enumerate(before.user_ids) if counts[row]}
    rated = {before.item_ids[item] for item in np.unique(before.item)}
    return Offline(fitted[0], before.user_ids, rows, seen, rated, now_us)


@pytest.fixture(scope="module")
def online(rehearsal: Rehearsal, model: str, movielens: Path) -> Online:
    """The bundle of `understudy train` with the same file and data, packaged, loaded and served by the commands."""
    directory = rehearsal.directory
    bundle, facts = directory / "bundle", directory / "facts.parquet"
    tracking = f"sqlite:///{directory / 'mlflow.db'}"
    rehearsal.run("train", CONFIGURATIONS / f"{model}.toml", "--fit", UNTIL, "--bundle", bundle, "--tracking", tracking)
    rehearsal.run("data", "facts", "--until", UNTIL, "--out", facts)
    tag = rehearsal.run("bento", "build", bundle, capture=True).splitlines()[-1]
    rehearsal.start_redis()
    rehearsal.run("features", "load", bundle, "--facts", facts, "--redis", rehearsal.redis_url)
    (directory / "ranking.toml").write_text(RELEVANCE_ALONE)
    port = rehearsal.ports.bento("primary")
    options = ("--redis", rehearsal.redis_url, "--feature-deadline-ms", PATIENCE_MS, "--logical-clock")
    words = ("serve", tag, "--port", str(port), "--ranking", directory / "ranking.toml", *options)
    url = f"http://{HOST}:{port}"
    rehearsal.stage.start("bento", command(*words), lambda: answers(f"{url}/readyz"), 90)
    return Online(bundle, url)


@pytest.fixture(scope="module")
def answered(offline: Offline, online: Online) -> dict[str, dict[str, Any]]:
    """What the service says to everybody of the test period, by user id, in batches; at the evaluation's moment."""
    users, found = list(offline.rows), {}
    with httpx.Client(base_url=online.url, timeout=60, headers=clock(offline)) as client:
        for begin in range(0, len(users), BATCH):
            asked = users[begin : begin + BATCH]
            body = {"requests": [{"user_id": user, "k": 10} for user in asked]}
            answer = client.post("/recommend:batch", json=body).raise_for_status().json()
            found |= dict(zip(asked, answer["answers"], strict=True))
    return found


def clock(offline: Offline) -> dict[str, str]:
    return {"X-Understudy-Event-Time": str(offline.now_us)}


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_the_bundle_that_is_served_is_the_model_that_was_evaluated(offline: Offline, online: Online) -> None:
    bundle = load_bundle(online.bundle)
    row = {user: number for number, user in enumerate(offline.before_ids)}
    assert bundle.item_ids == offline.fitted.item_ids
    assert np.array_equal(bundle.item_vectors, offline.fitted.items)
    assert np.array_equal(bundle.user_vectors, offline.fitted.users[[row[user] for user in bundle.user_ids]])
    told = httpx.get(f"{online.url}/model").json()
    assert told["version"] == bundle.manifest.version
    assert {told["ranking"][key] for key in ("diversity", "recency", "tail_slot")} == {0}
    # All that the service knows is older than the moment that it is asked at.
    assert told["last_interaction_us"] < offline.now_us


def test_the_lists_of_over_1000_users_have_the_same_ids_in_the_same_order(
    offline: Offline, answered: dict[str, dict[str, Any]]
) -> None:
    """Everybody with a vector."""
    warm = [user for user, answer in answered.items() if answer["source"] == "hybrid"]
    assert len(warm) >= 1_000
    assert set(warm) == {user for user, row in offline.rows.items() if row["warm"]}
    assert {user: ids(answered[user]) for user in warm} == {user: offline.lists[user] for user in warm}


def test_films_that_nobody_has_rated_are_shown_by_who_has_content_alone(
    model: str, offline: Offline, answered: dict[str, dict[str, Any]]
) -> None:
    shown = {item for answer in answered.values() for item in ids(answer)}
    assert bool(shown - offline.rated) == (model == "hybrid")


def test_who_is_unknown_gets_the_same_list_too(offline: Offline, answered: dict[str, dict[str, Any]]) -> None:
    unknown = [user for user in offline.rows if user not in offline.seen]
    assert len(unknown) > 20
    assert {answered[user]["source"] for user in unknown} == {"popular_recent"}
    assert {user: ids(answered[user]) for user in unknown} == {user: offline.lists[user] for user in unknown}


def test_only_who_rated_and_liked_nothing_is_answered_otherwise(
    offline: Offline, answered: dict[str, dict[str, Any]]
) -> None:
    """The service knows the genres that they looked at, evaluation has no profiles: it gives them what is popular."""
    different = {user for user, answer in answered.items() if ids(answer) != offline.lists[user]}
    nothing_liked = {user for user, row in offline.rows.items() if not row["warm"] and user in offline.seen}
    assert different <= nothing_liked
    assert {answered[user]["source"] for user in nothing_liked} == {"content"}
    assert len(nothing_liked) == 2


def test_a_request_of_its_own_has_the_list_of_the_batch(
    offline: Offline, online: Online, answered: dict[str, dict[str, Any]]
) -> None:
    with httpx.Client(base_url=online.url, timeout=60, headers=clock(offline)) as client:
        for user in list(offline.rows)[::SINGLE]:
            alone = client.get("/recommend", params={"user_id": user, "k": 10}).raise_for_status().json()
            assert (alone["source"], alone["items"]) == (answered[user]["source"], answered[user]["items"])
