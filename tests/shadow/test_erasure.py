"""Erasure: no byte of the log names the unit any more, nothing else is gone, and a reader does not call it loss."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.erasure import Erased, erase_units
from shadow.log_store import LogStore, PairLogError
from shadow.segment_writer import SegmentWriter
from shadow.segments import read_exposures, read_pairs
from tests.shadow import written
from tests.shadow.buckets import BUCKET, bucket

UNIT = written.UNITS[2]
LATER = written.START_US * 2
"""A time at which every router of the tests is silent for long."""
LINES = [written.exposure(number) if number % 7 == 6 else written.pair(number) for number in range(60)]
KEPT = [each for each in LINES if each.unit != UNIT]


def everything(root: Path) -> bytes:
    """All bytes of a log, segments decompressed."""
    found = b""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if ".zst" in path.name:
                data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
            found += data
    return found


def read(root: Path | str) -> list[object]:
    lines = [*read_pairs(root), *read_exposures(root)]
    return sorted(lines, key=lambda each: each.sequence)


def test_the_units_records_are_gone_and_the_log_is_as_whole_as_before(tmp_path: Path) -> None:
    written.incarnation(tmp_path, LINES)
    erased = erase_units(tmp_path, frozenset({UNIT}))
    assert erased == Erased(records=12, segments=erased.segments)
    assert len(erased.segments) == 6
    assert UNIT.encode() not in everything(tmp_path)
    assert read(tmp_path) == KEPT
    log = read_pairs(tmp_path)
    assert len(list(log)) == sum(hasattr(each, "arm") for each in KEPT)
    assert (log.health.erased, log.health.missing, log.health.problems()) == (12, 0, [])
    assert log.health.complete


def test_to_erase_again_changes_nothing_and_another_unit_is_counted_on_top(tmp_path: Path) -> None:
    written.incarnation(tmp_path, LINES)
    erase_units(tmp_path, frozenset({UNIT}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert erase_units(tmp_path, frozenset({UNIT})) == Erased()
    assert {path: path.read_bytes() for path in before} == before
    assert erase_units(tmp_path, frozenset({written.UNITS[3], written.UNITS[4]})).records == 24
    log = read_pairs(tmp_path)
    list(log)
    assert (log.health.erased, log.health.missing, log.health.problems()) == (36, 0, [])


def test_what_was_lost_before_is_still_missing_afterwards(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, [each for each in LINES if each.sequence % 10], numbered=60)
    max(directory.glob("*.zst")).unlink()
    before = read_pairs(tmp_path)
    list(before)
    erase_units(tmp_path, frozenset({UNIT}))
    after = read_pairs(tmp_path)
    list(after)
    assert after.health.missing == before.health.missing > 0
    assert after.health.absent == before.health.absent


class InterruptedRunError(Exception):
    pass


@settings(max_examples=20)
@given(writes=st.integers(0, 8))
def test_an_erasure_cut_off_anywhere_is_ended_by_the_next_one(writes: int) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        root = Path(directory)
        written.incarnation(root, LINES)
        write, left = LogStore.write, writes

        def cut_off(store: LogStore, name: str, data: bytes) -> None:
            nonlocal left
            if left == 0:
                raise InterruptedRunError
            left -= 1
            write(store, name, data)

        patch.setattr(LogStore, "write", cut_off)
        try:
            erase_units(root, frozenset({UNIT}))
        except InterruptedRunError:
            yielded = read(root)
            assert all(each in LINES for each in yielded)
            assert all(each in yielded for each in KEPT)
        patch.undo()
        erase_units(root, frozenset({UNIT}))
        assert read(root) == KEPT
        log = read_pairs(root)
        list(log)
        assert (log.health.erased, log.health.missing, log.health.problems()) == (12, 0, [])


def test_a_router_that_may_still_write_is_left_and_named(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, LINES, complete=False, numbered=-1, written_us=LATER)
    before = everything(tmp_path)
    assert erase_units(tmp_path, frozenset({UNIT}), LATER + 1) == Erased(left=["test/one"])
    assert everything(tmp_path) == before
    assert erase_units(tmp_path, frozenset({UNIT}), LATER + 901_000_000).records == 12
    assert written.manifest_of(directory).complete is False
    assert read(tmp_path) == KEPT


def test_an_open_segment_that_grows_is_left_and_one_of_a_dead_shipper_is_erased(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "test" / "one", 0, 0.0)
    for each in LINES:
        writer.append(msgspec.json.encode(each), each.sequence, each.event_time_us, 0.0)
    writer.flush()
    assert erase_units(tmp_path, frozenset({UNIT})).left == ["test/one"]
    writer.abandon()
    erased = erase_units(tmp_path, frozenset({UNIT}), LATER)
    assert (erased.records, erased.uncounted) == (12, 12)
    assert read(tmp_path) == KEPT


def test_damaged_bytes_go_too_for_nobody_knows_what_they_hold(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, LINES, per_segment=60)
    path = next(directory.glob("*.zst"))
    path.write_bytes(path.read_bytes()[:-20])
    before = read_pairs(tmp_path)
    list(before)
    erased = erase_units(tmp_path, frozenset({UNIT}))
    assert erased.damaged == ["test/one/000000000000.jsonl.zst"]
    log = read_pairs(tmp_path)
    list(log)
    assert (log.health.torn, log.health.checksum_failures) == ([], [])
    assert 0 < log.health.missing == before.health.missing


def test_records_that_came_twice_are_counted_once(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, LINES, per_segment=60)
    again = written.segment(directory, LINES[:30])
    manifest = written.manifest_of(directory)
    written.write_manifest(directory, msgspec.structs.replace(manifest, segments=(*manifest.segments, again)))
    assert erase_units(tmp_path, frozenset({UNIT})).records == 12
    log = read_pairs(tmp_path)
    list(log)
    assert (log.health.erased, log.health.missing) == (12, 0)


def test_a_log_in_a_bucket_is_erased_as_one_on_disk(tmp_path: Path) -> None:
    with bucket(tmp_path) as (directory, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for place in written.incarnation(tmp_path / "local", LINES).iterdir():
            LogStore(f"s3://{BUCKET}").write(f"logs/test/one/{place.name}", place.read_bytes())
        assert erase_units(f"s3://{BUCKET}/logs", frozenset({UNIT})).records == 12
        assert UNIT.encode() not in everything(directory)
        assert read(f"s3://{BUCKET}/logs") == KEPT


@pytest.mark.parametrize("unit", ["", "a" * 31, "A" * 32, "g" * 32, "alice"])
def test_what_is_no_unit_is_refused(tmp_path: Path, unit: str) -> None:
    written.incarnation(tmp_path, LINES)
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        erase_units(tmp_path, frozenset({unit}))


def test_a_place_that_is_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(PairLogError, match="no pair log there"):
        erase_units(tmp_path, frozenset({UNIT}))
