"""What leaves training: bundles without a trace of the future, requests, facts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bentos.bundle import load_bundle
from bentos.retrieval import search
from training.content import ContentSettings
from training.errors import ConfigurationError
from training.experiment import Experiment, ExportSettings, read_experiment
from training.export import (
    Request,
    events_of,
    export_bundle,
    replacing,
    requests_of,
    seen_before,
    with_events,
    write_facts,
)
from training.ials import IalsSettings
from training.interactions import Interactions, from_columns
from training.model import fit_model
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies

SMALL = IalsSettings(dimension=4, sweeps=2)
MINUTE = 60_000_000


def bundle_of(interactions: Interactions, directory: Path, least: int = 1) -> str:
    split = split_by_time(interactions)
    experiment = Experiment(name="champion", about="", ials=SMALL, export=ExportSettings(min_history=least))
    movies = synthetic_movies(interactions)
    fitted = fit_model(split.train, movies, experiment, threads=1)
    return export_bundle(directory, experiment, fitted, split.train, movies, split.validation_from_us, {}).version


def test_garbage_after_the_cut_gives_the_identical_bundle(tmp_path: Path) -> None:
    honest = synthetic_interactions(5, users=80, items=50, per_user=15)
    cut = split_by_time(honest).validation_from_us
    later = honest.timestamp_us >= cut
    rng = np.random.default_rng(1)
    # The same people, films and moments, but every rating after the cut is dealt out anew.
    garbled = Interactions(
        honest.user_ids,
        honest.item_ids,
        np.where(later, rng.integers(0, len(honest.user_ids), len(honest)), honest.user).astype(np.int32),
        np.where(later, rng.integers(0, len(honest.item_ids), len(honest)), honest.item).astype(np.int32),
        np.where(later, rng.integers(1, 6, len(honest)), honest.rating).astype(np.int8),
        honest.timestamp_us,
    )
    assert bundle_of(honest, tmp_path / "honest") == bundle_of(garbled, tmp_path / "garbled")


def test_what_users_have_seen_is_told_in_the_rows_of_the_bundle() -> None:
    """By hand: users a and c are in the bundle, and items p, r and a cold one before them."""
    columns = (np.array(["a", "a", "b", "c", "c"]), np.array(["p", "q", "p", "r", "p"]))
    before = from_columns(*columns, np.full(5, 4), np.arange(5) * MINUTE)
    seen = seen_before(before, np.array([-1, 0, 2]), np.array([0, 2]))
    assert seen.of(np.array([0, 1])) == [frozenset({1}), frozenset({2, 1})]


def test_garbage_before_the_cut_does_not(tmp_path: Path) -> None:
    honest = synthetic_interactions(5, users=80, items=50, per_user=15)
    first = np.argmin(honest.timestamp_us)
    rating = honest.rating.copy()
    rating[first] = 1 if rating[first] >= 4 else 5
    other = Interactions(honest.user_ids, honest.item_ids, honest.user, honest.item, rating, honest.timestamp_us)
    assert bundle_of(honest, tmp_path / "honest") != bundle_of(other, tmp_path / "other")


@pytest.mark.parametrize("positive", [3.0, 4.0, 5.0])
def test_who_gets_a_vector_and_what_is_popular_follow_the_experiments_positive(tmp_path: Path, positive: float) -> None:
    interactions = synthetic_interactions(5, users=80, items=50, per_user=6)
    split = split_by_time(interactions)
    before, cut_us = split.train, split.validation_from_us
    ials = IalsSettings(dimension=4, sweeps=2, positive=positive)
    experiment = Experiment(name="champion", about="", ials=ials, export=ExportSettings(min_history=3))
    movies = synthetic_movies(interactions)
    export_bundle(tmp_path / "b", experiment, fit_model(before, movies, experiment, 1), before, movies, cut_us, {})
    bundle = load_bundle(tmp_path / "b")
    liked = [(before.user_ids[u], before.item_ids[i]) for u, i in zip(before.user, before.item, strict=True)]
    liked = [pair for pair, stars in zip(liked, before.rating, strict=True) if stars >= positive]
    users, items = (Counter(pair[side] for pair in liked) for side in (0, 1))
    assert bundle.user_ids == sorted(user for user, count in users.items() if count >= 3)
    assert bundle.catalogue.column("popularity").to_pylist() == [items[item] for item in bundle.item_ids]


def test_users_with_little_history_get_no_vector(tmp_path: Path) -> None:
    interactions = synthetic_interactions(5, users=80, items=50, per_user=15)
    bundle_of(interactions, tmp_path / "all")
    bundle_of(interactions, tmp_path / "few", least=8)
    before = split_by_time(interactions).train.positives
    positives = np.bincount(before.user, minlength=80)
    everyone, few = load_bundle(tmp_path / "all"), load_bundle(tmp_path / "few")
    assert len(everyone.user_ids) == (positives >= 1).sum()
    assert set(few.user_ids) == {before.user_ids[row] for row in np.flatnonzero(positives >= 8)}
    assert everyone.item_ids == few.item_ids


def test_a_request_stands_at_each_session_start_and_each_tenth_rating() -> None:
    times = [0, *(n * MINUTE for n in range(1, 12)), 12 * MINUTE + 31 * MINUTE]
    users = np.array(["u"] * len(times) + ["v"])
    items = np.array([f"i{n}" for n in range(len(times))] + ["i0"])
    rows = np.array([*times, 5 * MINUTE], np.int64)
    requests = requests_of(from_columns(users, items, np.full(len(rows), 4, np.int8), rows))
    assert requests == [
        Request(0, "u"),
        Request(5 * MINUTE, "v"),
        Request(10 * MINUTE, "u"),
        Request(43 * MINUTE, "u"),
    ]


def test_ratings_follow_the_request_that_led_to_them() -> None:
    users, items = np.array(["v", "u", "u"]), np.array(["i2", "i1", "i0"])
    period = from_columns(users, items, np.array([5, 3, 4], np.int8), np.array([MINUTE, MINUTE, 0], np.int64))
    events = events_of(period)
    assert events == [
        Request(0, "u", item_id="i0", rating=4.0),
        Request(MINUTE, "u", item_id="i1", rating=3.0),
        Request(MINUTE, "v", item_id="i2", rating=5.0),
    ]
    assert with_events(requests_of(period), events) == [
        Request(0, "u"),
        events[0],
        Request(MINUTE, "v"),
        events[1],
        events[2],
    ]


def test_facts_are_ordered_by_user_and_time(tmp_path: Path) -> None:
    interactions = synthetic_interactions(5, users=20, items=30, per_user=6)
    assert write_facts(tmp_path / "facts.parquet", interactions) == len(interactions)
    rows = pq.read_table(tmp_path / "facts.parquet").to_pylist()
    keys = [(row["user_id"], row["timestamp_us"]) for row in rows]
    assert keys == sorted(keys)
    assert len(rows) == len(interactions)


@pytest.mark.parametrize("name", ["champion", "challenger"])
def test_the_shipped_experiments_can_be_read(name: str) -> None:
    path = Path(__file__).parents[2] / "training" / "configs" / f"{name}.toml"
    assert read_experiment(path).name == name


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('name="x"\nabout=""\n[ials]\ndimensions=64\n', "dimensions"),
        ('name="x"\nabout=""\n', "ials"),
        ('name="x"\nabout=""\n[ials]\nsweeps="many"\n', "sweeps"),
        ("not toml", "line 1"),
        ('name = "a"\nabout = ""\n[ials]\nregularisation = 0\n', r"ials.regularisation"),
        ('name = "a"\nabout = ""\n[ials.weights]\n6 = 1.0\n', "weights: '6' is no number of stars"),
        ('name = "a"\nabout = ""\n[ials.weights]\n5 = -1.0\n', "weights.5 is -1; it must be 0 or more"),
    ],
)
def test_an_experiment_that_says_something_unknown_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "e.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        read_experiment(tmp_path / "e.toml")


def test_a_hybrids_bundle_has_every_film_and_finds_one_that_nobody_rated(tmp_path: Path) -> None:
    interactions = synthetic_interactions(5, users=150, items=60, per_user=15)
    cold = "i8"
    before = interactions.where(np.array(interactions.item_ids)[interactions.item] != cold)
    movies = synthetic_movies(interactions)
    experiment = Experiment(name="hybrid", about="", ials=SMALL, content=ContentSettings(least_items=2, weight=0.5))
    fitted = fit_model(before, movies, experiment, threads=1)
    export_bundle(tmp_path / "hybrid", experiment, fitted, before, movies, int(before.timestamp_us.max()) + 1, {})
    bundle = load_bundle(tmp_path / "hybrid")
    assert bundle.item_ids == sorted(movies)
    assert bundle.manifest.dimension == 2 * SMALL.dimension
    row = bundle.item_ids.index(cold)
    described = bundle.catalogue.slice(row, 1).to_pylist()[0]
    assert (described["popularity"], described["last_interaction_us"], described["tail"]) == (0, 0, True)
    everything_else = set(range(len(bundle.item_ids))) - {row}
    rows, scores = search(bundle.index, bundle.user_vectors[0], 1, everything_else)
    assert rows.tolist() == [row]
    assert scores[0] == pytest.approx(bundle.user_vectors[0] @ bundle.item_vectors[row], rel=1e-5)


def test_what_cannot_be_written_is_told_by_name_and_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "facts.parquet"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("77 requested and 33 written")

    with pytest.raises(OSError, match=r"77 requested and 33 written. Free space.*facts.parquet"):
        write()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("facts.parquet", "old")]
