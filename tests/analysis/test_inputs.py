from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.inputs import InputError, read_bundle, read_catalogue, read_plan


def catalogue(directory: Path, tail: list[bool], column: str = "tail") -> Path:
    path = directory / "catalogue.parquet"
    pq.write_table(pa.table({"item_id": [f"i{n}" for n in range(len(tail))], column: tail}), path)
    return path


def test_the_tail_and_the_hash_of_a_catalogue(tmp_path):
    path = catalogue(tmp_path, [False, True, True])
    items, summary = read_catalogue(path)
    assert items.index == {"i0": 0, "i1": 1, "i2": 2}
    assert items.tail.tolist() == [False, True, True]
    assert (items.whole, items.popularity, items.features) == (True, None, None)
    assert (summary.items, summary.tail_items) == (3, 2)
    assert summary.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("tail", [[True, True], [False, False], []])
def test_a_catalogue_that_is_all_head_or_all_tail_can_show_no_difference(tmp_path, tail):
    with pytest.raises(InputError, match="one side of the long tail"):
        read_catalogue(catalogue(tmp_path, tail))


def test_what_is_no_catalogue_is_named(tmp_path):
    (tmp_path / "x").write_bytes(b"no parquet")
    for path in (tmp_path / "missing", tmp_path / "x", catalogue(tmp_path, [True], column="other")):
        with pytest.raises(InputError, match=str(path)):
            read_catalogue(path)


def test_a_bundle_is_named_by_its_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "champion", "version": "abc", "files": {}}')
    found = read_bundle("primary", tmp_path)
    assert (found.arm, found.name, found.version) == ("primary", "champion", "abc")
    with pytest.raises(InputError, match="no such arm"):
        read_bundle("candidate", tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="no manifest of a bundle"):
        read_bundle("primary", tmp_path)


def test_a_wrong_plan_is_named_by_its_file(tmp_path):
    (tmp_path / "plan.yaml").write_text("surprise: 1")
    with pytest.raises(InputError, match=r"plan\.yaml: .*surprise"):
        read_plan(tmp_path / "plan.yaml")


def test_popularity_and_genres_are_read_where_the_catalogue_has_them(tmp_path):
    path = tmp_path / "catalogue.parquet"
    columns = {"item_id": ["a", "b"], "tail": [True, False], "popularity": [3, 9], "genres": [["x"], ["x", "y"]]}
    pq.write_table(pa.table(columns), path)
    items, _ = read_catalogue(path)
    assert items.popularity.tolist() == [3, 9]
    assert items.features.tolist() == [[1], [3]]


def test_a_catalogue_with_an_item_twice_is_refused(tmp_path):
    pq.write_table(pa.table({"item_id": ["a", "a"], "tail": [True, False]}), tmp_path / "twice.parquet")
    with pytest.raises(InputError, match="1 item ids stand twice"):
        read_catalogue(tmp_path / "twice.parquet")


@pytest.mark.parametrize(
    "columns", [{"item_id": ["a", None], "tail": [True, False]}, {"item_id": ["a", "b"], "tail": [True, None]}]
)
def test_a_catalogue_with_a_null_is_refused(tmp_path, columns):
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    with pytest.raises(InputError, match="null"):
        read_catalogue(tmp_path / "c.parquet")
