"""The last records of a log: of all routers by arrival, and of its segments only those are read that can hold them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.log_store import LogStore
from shadow.pairs_tail import Tail
from shadow.segment_writer import SegmentWriter
from shadow.segments import read_pairs
from tests.shadow import written
from tests.shadow.buckets import BUCKET, bucket


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The segments that are read, by name."""
    names: list[str] = []
    real = LogStore.chunks

    def chunks(store: LogStore, name: str, start: int = 0) -> Iterator[bytes]:
        if ".zst" in name:
            names.append(name)
        return real(store, name, start)

    monkeypatch.setattr(LogStore, "chunks", chunks)
    return names


@pytest.fixture(params=["directory", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two routers of thirty segments; the second's end half a segment after the first's."""
    for name, later in (("one", 0), ("two", 5)):
        written.incarnation(
            tmp_path / "log",
            [written.pair(number, name, arrival_us=(number + later) * 10 + later) for number in range(300)],
        )
    if request.param == "directory":
        yield str(tmp_path / "log")
        return
    with bucket(tmp_path) as (directory, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        shutil.copytree(tmp_path / "log" / "test", directory / "log" / "test")
        yield f"s3://{BUCKET}/log"


def test_only_the_newest_segments_are_read(location: str, opened: list[str]) -> None:
    expected = sorted(read_pairs(location), key=lambda each: each.arrival_us)
    opened.clear()
    assert Tail(location).last(5) == expected[-5:]
    assert sorted(opened) == ["test/two/000000000290.jsonl.zst"]
    opened.clear()
    assert Tail(location).last(30) == expected[-30:]
    assert len(opened) == 4
    opened.clear()
    assert Tail(location).last(0) == []
    assert opened == []


def test_what_was_not_read_for_the_last_is_not_told_as_new(location: str, opened: list[str]) -> None:
    tail = Tail(location)
    assert len(tail.last(5)) == 5
    opened.clear()
    assert list(tail.look()) == []
    assert opened == []


def test_segments_that_no_manifest_dates_are_read_whatever_the_others_hold(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, [written.pair(number) for number in range(40)], complete=False)
    written.segment(directory, [written.pair(number) for number in range(40, 45)])
    writer = SegmentWriter(directory, 45, 0.0)
    newest = written.pair(45)
    writer.append(msgspec.json.encode(newest), 45, 0, 0.0, newest.arrival_us)
    writer.flush()
    assert [each.sequence for each in Tail(tmp_path).last(8)] == list(range(38, 46))
    nothing = Tail(tmp_path)
    assert (nothing.last(0), list(nothing.look())) == ([], [])
    old = written.manifest_of(directory)
    undated = tuple(msgspec.structs.replace(each, last_arrival_us=-1) for each in old.segments)
    written.write_manifest(directory, msgspec.structs.replace(old, segments=undated))
    assert [each.sequence for each in Tail(tmp_path).last(8)] == list(range(38, 46))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=25), min_size=1, max_size=3),
    st.integers(0, 30),
    st.integers(1, 6),
)
def test_the_last_are_those_of_the_whole_log_in_whatever_order_they_arrived(
    routers: list[list[int]], number: int, per_segment: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root, arrived = Path(directory), list[int]()
        for name, arrivals in enumerate(routers):
            records = [
                written.pair(sequence, f"r{name}", arrival_us=arrival) for sequence, arrival in enumerate(arrivals)
            ]
            written.incarnation(root, records, per_segment)
            arrived += arrivals
        found = Tail(root).last(number)
        assert [each.arrival_us for each in found] == sorted(arrived)[max(0, len(arrived) - number) :]
