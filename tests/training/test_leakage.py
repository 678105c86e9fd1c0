"""Nothing that a model learns from is younger than the cut: what comes after it may be anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bentos.bundle import BundleManifest
from training.content import ContentSettings
from training.experiment import Experiment
from training.export import export_bundle, write_facts
from training.ials import IalsSettings
from training.interactions import Interactions, from_columns
from training.layouts import NO_TAGS, Tags
from training.model import fit_model
from training.popularity import family_scores
from training.split import GlobalSplit, split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies

EXPERIMENT = Experiment(name="champion", about="", ials=IalsSettings(dimension=8, sweeps=3))
MADE = synthetic_interactions(7, users=120, items=60, per_user=15)
DATA = replace(MADE, **{ids: [f"1{each[1:]}" for each in getattr(MADE, ids)] for ids in ("user_ids", "item_ids")})
"""With ids in digits, as in files."""


def columns(data: Interactions) -> tuple[np.ndarray, np.ndarray]:
    return np.array(data.user_ids)[data.user], np.array(data.item_ids)[data.item]


def garbled(data: Interactions, cut_us: int, seed: int) -> Interactions:
    """Every row from `cut_us` on replaced by garbage: strangers and new films, with ids before and after all others."""
    rng = np.random.default_rng(seed)
    later = data.timestamp_us >= cut_us
    users, items = (column.astype("U16") for column in columns(data))
    count = int(later.sum())
    users[later] = rng.choice([*(f"0{n}" for n in range(50)), "z", *data.user_ids[:9]], count)
    items[later] = rng.choice([*(f"0{n}" for n in range(50)), "z", *data.item_ids[:9]], count)
    rating, time = data.rating.copy(), data.timestamp_us.copy()
    rating[later] = rng.integers(1, 6, count)
    time[later] = cut_us + rng.integers(0, 10**13, count)
    time[data.timestamp_us == cut_us] = cut_us  # where the quantile falls, and so the cut, stays
    return from_columns(users, items, rating, time)


def bundle(
    directory: Path, split: GlobalSplit, experiment: Experiment = EXPERIMENT, tags: Tags = NO_TAGS
) -> BundleManifest:
    movies = synthetic_movies(DATA)
    fitted = fit_model(split.train, movies, experiment, threads=1, tags=tags)
    return export_bundle(directory, experiment, fitted, split.train, movies, split.validation_from_us, {})


@pytest.mark.parametrize("content", [None, ContentSettings(least_items=2)])
@pytest.mark.parametrize("seed", range(3))
def test_garbage_after_the_cut_gives_the_same_bundle_and_the_same_facts(
    tmp_path: Path, seed: int, content: ContentSettings | None
) -> None:
    experiment = msgspec.structs.replace(EXPERIMENT, content=content)
    split = split_by_time(DATA)
    other = split_by_time(garbled(DATA, split.validation_from_us, seed))
    assert other.validation_from_us == split.validation_from_us
    ours, theirs = bundle(tmp_path / "one", split, experiment), bundle(tmp_path / "other", other, experiment)
    assert ours.version == theirs.version
    for name, each in (("one", split), ("other", other)):
        write_facts(tmp_path / f"{name}.parquet", each.train)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def tags_file(path: Path, cut_us: int, late: bool, seed: int = 0) -> Tags:
    """Tags before the cut, whose words some films share; with `late` as many after it, in between, with other words."""
    rng = np.random.default_rng(5)
    cut = cut_us // 1_000_000
    rows = [(item, f"taste {rng.integers(4)}", cut - 1 - int(rng.integers(10**6))) for item in DATA.item_ids[:40]]
    if late:
        garbage = np.random.default_rng(seed)
        chosen = garbage.choice([*DATA.item_ids, "99999"], 60)
        rows += [(item, f"taste 1 later {n % 5}", cut + int(garbage.integers(10**6))) for n, item in enumerate(chosen)]
        garbage.shuffle(rows)
    lines = ["userId,movieId,tag,timestamp", *(f"{n + 1},{','.join(map(str, row))}" for n, row in enumerate(rows))]
    path.write_text("\n".join(lines) + "\n")
    return Tags(path)


@pytest.mark.parametrize("seed", range(3))
def test_garbage_tags_after_the_cut_give_the_same_bundle(tmp_path: Path, seed: int) -> None:
    split = split_by_time(DATA)
    cut = split.validation_from_us
    hybrid = msgspec.structs.replace(EXPERIMENT, content=ContentSettings(least_items=2))
    tagged, garbled_too = (tags_file(tmp_path / f"{late}.csv", cut, late, seed) for late in (False, True))
    ours = bundle(tmp_path / "one", split, hybrid, tagged)
    assert bundle(tmp_path / "other", split, hybrid, garbled_too).version == ours.version
    # The test can fail: tags before the cut count.
    assert bundle(tmp_path / "without", split, hybrid).version != ours.version


def test_garbage_before_the_cut_gives_another_bundle(tmp_path: Path) -> None:
    """The test above can fail."""
    split = split_by_time(DATA)
    last = int(split.train.timestamp_us.max())
    other = split.train.where(split.train.timestamp_us < last)
    changed = GlobalSplit(other, *(getattr(split, name) for name in list(GlobalSplit.__dataclass_fields__)[1:]))
    assert bundle(tmp_path / "one", split).version != bundle(tmp_path / "other", changed).version


def test_garbage_after_the_cut_leaves_the_popularity_family_alone() -> None:
    split = split_by_time(DATA)
    other = split_by_time(garbled(DATA, split.validation_from_us, 1))
    ours = family_scores(split.train, split.validation_from_us)
    theirs = family_scores(other.train, other.validation_from_us)
    for name, scores in ours.items():
        known = dict(zip(DATA.item_ids, scores, strict=True))
        assert {item: score for item, score in zip(other.train.item_ids, theirs[name], strict=True) if score} == {
            item: score for item, score in known.items() if score
        }
