"""Made-up data on disk: other commands read what was made, it says what it is, and it is whole or absent."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bentos.bundle import load_bundle
from training import synthetic
from training.data_set import DataSet
from training.errors import DataError
from training.export import write_facts
from training.synthetic import SyntheticSettings, World
from training.synthetic_files import Targets, check_room, needed_bytes, write
from training.synthetic_mark import MARK, mark_of

SETTINGS = SyntheticSettings(users=300, items=120, interactions=4_000, norms="lognormal", dimension=8)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "PART_CANDIDATES", 2_000)


def targets_in(directory: Path) -> Targets:
    return Targets(directory / "data", directory / "bundle", directory / "facts.parquet")


def made(directory: Path, world: World) -> Targets:
    targets = targets_in(directory)
    write(world, "none", targets, 2, lambda done, all_: None)
    return targets


def bytes_of(directory: Path) -> dict[str, bytes]:
    return {str(each.relative_to(directory)): each.read_bytes() for each in directory.rglob("*") if each.is_file()}


def test_the_directory_is_read_as_what_was_made(tmp_path: Path) -> None:
    world = World.of(SETTINGS)
    targets = made(tmp_path, world)
    assert targets.data is not None
    data = DataSet.read(targets.data, tmp_path)
    names = [sorted(map(str, range(1, count + 1))) for count in (300, 120)]
    parts = list(world.parts(1))
    expected = {
        (names[0][user], names[1][item], rating, time)
        for part in parts
        for user, item, rating, time in zip(*(getattr(part, name).tolist() for name in vars(part)), strict=True)
    }
    table = data.interactions
    rows = zip(table.user, table.item, table.rating.tolist(), table.timestamp_us.tolist(), strict=True)
    assert {(table.user_ids[u], table.item_ids[i], rating, time) for u, i, rating, time in rows} == expected
    assert set(data.movies) == set(names[1])
    assert data.movies["7"].title == "Synthetic film 7"
    assert len(data.movies["7"].genres) == 2


def test_facts_are_those_that_the_data_would_give(tmp_path: Path) -> None:
    targets = made(tmp_path, World.of(SETTINGS))
    assert targets.data is not None
    assert targets.facts is not None
    write_facts(tmp_path / "again.parquet", DataSet.read(targets.data, tmp_path).interactions)
    ours, theirs = pq.read_table(targets.facts), pq.read_table(tmp_path / "again.parquet")
    assert ours.schema == theirs.schema
    # Ties of time within a user come in the order of the draws, or of the ids.
    by = [("user_id", "ascending"), ("timestamp_us", "ascending"), ("item_id", "ascending")]
    assert ours.sort_by(by).equals(theirs)
    assert ours["user_id"].to_pylist() == theirs["user_id"].to_pylist()
    assert ours["timestamp_us"].to_pylist() == theirs["timestamp_us"].to_pylist()


def test_the_bundle_holds_the_vectors_and_counts_the_positives(tmp_path: Path) -> None:
    world = World.of(SETTINGS)
    targets = made(tmp_path, world)
    assert targets.bundle is not None
    bundle = load_bundle(targets.bundle)
    np.testing.assert_array_equal(bundle.item_vectors, world.vectors.items)
    np.testing.assert_array_equal(bundle.user_vectors, world.vectors.users)
    liked = sum(int((part.rating >= 4).sum()) for part in world.parts(1))
    assert sum(bundle.catalogue["popularity"].to_pylist()) == liked
    assert 0 < sum(bundle.catalogue["recent_popularity"].to_pylist()) < liked
    assert bundle.fold_in is not None


def test_it_says_in_plain_words_that_it_is_synthetic(tmp_path: Path) -> None:
    targets = made(tmp_path, World.of(SETTINGS))
    assert targets.data is not None
    assert targets.bundle is not None
    assert (targets.data / "README.txt").read_text().startswith("SYNTHETIC DATA.")
    words = mark_of(targets.data)
    assert words.startswith("SYNTHETIC, generator 1: users=300 items=120 interactions=4000 norms=lognormal")
    data = DataSet.read(targets.data, tmp_path)
    assert data.labels["synthetic"] == words
    labels = load_bundle(targets.bundle).manifest.labels
    assert labels == {"synthetic": words, "data_hash": data.digest}


def test_real_data_has_no_mark_and_a_damaged_mark_is_refused(tmp_path: Path) -> None:
    assert mark_of(tmp_path) == ""
    (tmp_path / MARK).write_bytes(b"{")
    with pytest.raises(DataError, match=f"{MARK}: not the mark of made-up data"):
        mark_of(tmp_path)


def test_the_same_settings_make_the_same_files_and_replace_older_ones(tmp_path: Path) -> None:
    world = World.of(SETTINGS)
    made(tmp_path / "one", world)
    first = bytes_of(tmp_path / "one")
    made(tmp_path / "one", world)
    made(tmp_path / "other", World.of(SETTINGS))
    assert bytes_of(tmp_path / "one") == first == bytes_of(tmp_path / "other")


def test_an_interruption_leaves_nothing_and_what_was_there_stays(tmp_path: Path) -> None:
    world = World.of(SETTINGS)
    for place, before in ((tmp_path / "fresh", {}), (tmp_path / "old", None)):
        place.mkdir()
        if before is None:
            made(place, world)
            before = bytes_of(place)

        def interrupted(done: int, all_: int) -> None:
            if done > 2_000:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(world, "none", targets_in(place), 2, interrupted)
        assert bytes_of(place) == before


def test_a_directory_with_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty and holds no made-up data"):
        made(tmp_path, World.of(SETTINGS))
    assert bytes_of(tmp_path) == {"data/thesis.txt": b"mine"}


def test_the_disk_that_is_asked_for_is_enough_and_not_much_more(tmp_path: Path) -> None:
    settings = SyntheticSettings(users=5_000, items=2_000, interactions=200_000, norms="gaussian", dimension=16)
    targets = made(tmp_path, World.of(settings))
    for path, most in needed_bytes(settings, targets).items():
        size = sum(map(len, bytes_of(path).values())) if path.is_dir() else path.stat().st_size
        assert size <= most <= 2 * size


def test_too_small_a_disk_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    settings = SyntheticSettings(users=10**6, items=10**5, interactions=3 * 10**7)
    with pytest.raises(DataError, match=rf"{tmp_path}: 1,\d\d\d MB are needed and 1 MB are free"):
        check_room(settings, targets_in(tmp_path / "deep" / "down"))
