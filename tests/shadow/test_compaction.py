"""Compaction: every record once, by its day; a second run changes nothing, a run that was cut off goes on."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from shadow import compaction
from shadow.compaction import STATE, compact, erase_compacted, read_state
from shadow.contracts import Exposure, PairRecord
from shadow.erasure import erase_units
from shadow.log_store import LogStore, PairLogError
from shadow.segments import read_exposures, read_pairs
from tests.shadow import written

HOUR_US = 3_600_000_000


def lines(name: str, hours: int = 50) -> list[PairRecord | Exposure]:
    """One record an hour, every fifth an exposure."""
    found: list[PairRecord | Exposure] = []
    for number in range(hours):
        time = written.START_US + number * HOUR_US
        make = written.exposure if number % 5 == 4 else written.pair
        found.append(make(number, name, event_time_us=time, arrival_us=time))
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        written.incarnation(tmp_path / "log", lines(name))
    (tmp_path / "out").mkdir()
    return tmp_path / "log"


@pytest.fixture
def out(log: Path) -> Path:
    return log.parent / "out"


def rows(out: Path, kind: str) -> list[dict[str, object]]:
    found = []
    for path in sorted(out.glob(f"{kind}/*/*.parquet")):
        found += pq.read_table(path, partitioning=None).to_pylist()
    return sorted(found, key=lambda row: (row["incarnation"], row["sequence"]))


def hashes(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in out.rglob("*.parquet")
    }


def test_every_record_is_there_once_under_its_day(log: Path, out: Path) -> None:
    state = compact(log, out)
    assert [msgspec.convert(row, PairRecord) for row in rows(out, "pairs")] == list(read_pairs(log))
    assert [msgspec.convert(row, Exposure) for row in rows(out, "exposures")] == list(read_exposures(log))
    assert {path.name for path in (out / "pairs").iterdir()} == {f"day=2024-10-{day:02d}" for day in (4, 5, 6)}
    assert state.watermarks["test"].arrival_us == written.START_US + 49 * HOUR_US
    assert state.made == 2
    assert all(router.problems == () for router in state.routers.values())


def test_duckdb_reads_days_and_answers(log: Path, out: Path) -> None:
    compact(log, out)
    query = """select day::varchar, count(*), min("primary".status) from read_parquet(?, hive_partitioning = true)
               where arm = 'shadow' group by day order by day"""
    answer = duckdb.execute(query, [str(out / "pairs" / "*" / "*.parquet")]).fetchall()
    assert answer == [("2024-10-04", 40, 200), ("2024-10-05", 38, 200), ("2024-10-06", 2, 200)]


def test_a_second_run_changes_nothing_and_a_grown_log_is_taken_up(log: Path, out: Path) -> None:
    compact(log, out)
    before = hashes(out)
    assert compact(log, out).made == 0
    assert hashes(out) == before
    written.incarnation(log, lines("three"))
    assert compact(log, out).made == 1
    after = hashes(out)
    assert {name: after[name] for name in before} == before
    assert len(rows(out, "pairs")) == 120


def test_a_run_that_was_cut_off_goes_on(log: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = out.parent / "expected"
    expected.mkdir()
    compact(log, expected)
    write = LogStore.write
    for writes in (0, 3, 7, 2, 5):
        left = writes

        def cut_off(store: LogStore, name: str, data: bytes) -> None:
            nonlocal left
            if left == 0:
                raise PairLogError("the disk is full")
            left -= 1
            write(store, name, data)

        monkeypatch.setattr(LogStore, "write", cut_off)
        with pytest.raises(PairLogError, match="disk is full"):
            compact(log, out)
        monkeypatch.undo()
    compact(log, out)
    assert hashes(out) == hashes(expected)


def test_a_run_that_was_cut_off_claims_no_more_than_the_one_before(
    log: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = compact(log, out).watermarks
    for name in ("one", "two"):
        written.incarnation(log, lines(f"{name}-more", 99))
    write = LogStore.write

    def cut_off(store: LogStore, name: str, data: bytes) -> None:
        if "two-more" in name:
            raise PairLogError("the disk is full")
        write(store, name, data)

    monkeypatch.setattr(LogStore, "write", cut_off)
    with pytest.raises(PairLogError):
        compact(log, out)
    monkeypatch.undo()
    state = read_state(LogStore(out))
    assert "test/one-more" in state.routers
    assert state.watermarks == before
    assert compact(log, out).watermarks["test"].arrival_us == written.START_US + 98 * HOUR_US


def test_one_experiments_watermark_is_not_anothers(log: Path, out: Path) -> None:
    early = written.pair(0, "three", experiment="other")
    written.incarnation(log, [early])
    compact(log, out)
    state = compact(log, out, "other")
    marks = {name: mark.arrival_us for name, mark in state.watermarks.items()}
    assert marks == {"test": written.START_US + 49 * HOUR_US, "other": early.arrival_us}


def test_a_manifest_that_was_only_renewed_is_no_reason_to_make_files_anew(log: Path, out: Path) -> None:
    compact(log, out)
    directory = log / "test" / "one"
    written.write_manifest(directory, msgspec.structs.replace(written.manifest_of(directory), written_us=77))
    assert compact(log, out).made == 0


def test_a_router_whose_log_has_expired_leaves_no_parquet_behind(log: Path, out: Path) -> None:
    compact(log, out)
    shutil.rmtree(log / "test" / "one")
    state = compact(f"{log}/", out)
    assert list(state.routers) == ["test/two"]
    assert state.removed == 6
    assert {row["incarnation"] for kind in ("pairs", "exposures") for row in rows(out, kind)} == {"two"}


def test_what_expired_is_kept_when_asked_and_so_is_what_came_from_elsewhere(log: Path, out: Path) -> None:
    compact(log, out)
    elsewhere = log.parent / "elsewhere"
    written.incarnation(elsewhere, lines("three"))
    compact(elsewhere, out)
    shutil.rmtree(log / "test" / "one")
    assert compact(log, out, keep_expired=True).removed == 0
    assert compact(elsewhere, out).removed == 0
    assert set(compact(log, out).routers) == {"test/two", "test/three"}
    written.incarnation(log, [written.pair(0, "four", experiment="other")])
    shutil.rmtree(log / "test" / "two")
    assert set(compact(log, out, "other").routers) == {"test/two", "test/three", "other/four"}


def test_days_of_event_time_expire(log: Path, out: Path) -> None:
    """Fifty hours from the beginning of a day: two days and two hours."""
    compact(log, out)
    end_of_the_first = written.START_US + written.DAY_US
    day = written.DAY_US
    assert compact(log, out, retain_days=1.5, now_us=end_of_the_first + int(1.5 * day) - 1).removed == 0
    state = compact(log, out, retain_days=1.5, now_us=end_of_the_first + int(1.5 * day))
    assert (state.removed, state.made) == (4, 0)
    assert {path.name for path in (out / "pairs").iterdir() if any(path.iterdir())} == {
        "day=2024-10-05",
        "day=2024-10-06",
    }
    assert min(row["event_time_us"] for row in rows(out, "pairs")) == end_of_the_first + HOUR_US
    assert min(row["event_time_us"] for row in rows(out, "exposures")) == end_of_the_first
    written.incarnation(log, lines("three"))
    assert compact(log, out, retain_days=1.5, now_us=end_of_the_first + int(1.5 * day)).made == 1
    assert min(row["event_time_us"] for row in rows(out, "exposures")) == end_of_the_first
    assert compact(log, out).made == 3
    assert [msgspec.convert(row, PairRecord) for row in rows(out, "pairs")] == sorted(
        read_pairs(log), key=lambda each: (each.incarnation, each.sequence)
    )


def test_days_expire_also_when_the_log_is_gone(log: Path, out: Path) -> None:
    compact(log, out)
    shutil.rmtree(log / "test")
    with pytest.raises(PairLogError, match="no pair log there"):
        compact(log, out, retain_days=1, now_us=written.START_US + 40 * written.DAY_US)
    assert list(out.rglob("*.parquet")) == []
    assert all(router.files == () for router in read_state(LogStore(out)).routers.values())


def test_what_a_run_that_was_cut_off_left_over_is_removed_and_what_is_not_ours_stays(
    log: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "FILE_BYTES", 5_000)
    compact(log, out)
    erase_units(log, frozenset(written.UNITS[:4]))
    monkeypatch.setattr(LogStore, "delete", lambda store, name: pytest.fail("cut off"))
    with pytest.raises(pytest.fail.Exception):
        compact(log, out)
    monkeypatch.undo()
    monkeypatch.setattr(compaction, "FILE_BYTES", 5_000)
    for name in ("notes.parquet", "pairs/day=2024-10-04/mine.parquet"):
        (out / name).write_bytes(b"x")
    compact(log, out)
    assert (out / "notes.parquet").exists()
    (out / "notes.parquet").unlink()
    (out / "pairs/day=2024-10-04/mine.parquet").unlink()
    assert [msgspec.convert(row, PairRecord) for row in rows(out, "pairs")] == list(read_pairs(log))


def test_a_long_day_is_cut_into_files_and_a_shorter_log_leaves_none_behind(
    log: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "FILE_BYTES", 5_000)
    compact(log, out)
    many = hashes(out)
    assert len(many) > 20
    assert [msgspec.convert(row, PairRecord) for row in rows(out, "pairs")] == list(read_pairs(log))
    erase_units(log, frozenset(written.UNITS[:4]))
    compact(log, out)
    assert set(hashes(out)) < set(many)
    assert [msgspec.convert(row, PairRecord) for row in rows(out, "pairs")] == list(read_pairs(log))


def test_a_unit_is_erased_from_parquet_and_the_rest_stays(log: Path, out: Path) -> None:
    compact(log, out)
    unit = written.UNITS[1]
    expected = [row for row in rows(out, "pairs") if row["unit"] != unit]
    assert erase_compacted(out, frozenset({unit})) == 20
    assert rows(out, "pairs") == expected
    assert erase_compacted(out, frozenset({unit})) == 0
    tables = [pq.read_table(path, partitioning=None).to_pylist() for path in out.rglob("*.parquet")]
    assert unit not in str(tables)
    state = read_state(LogStore(out))
    assert sum(file.rows for router in state.routers.values() for file in router.files) == 80


def test_a_damaged_log_is_compacted_as_far_as_it_can_be_read_and_says_so(log: Path, out: Path) -> None:
    min((log / "test" / "one").glob("*.zst")).unlink()
    state = compact(log, out)
    assert len(rows(out, "pairs")) == 72
    assert any("10 records are missing" in problem for problem in state.routers["test/one"].problems)


def test_an_output_that_is_something_else_is_not_touched(log: Path, out: Path) -> None:
    for other in (b"{", b'{"routers":{"\xff":{"source":"","files":[]}}}'):
        (out / STATE).write_bytes(other)
        with pytest.raises(PairLogError, match="empty directory"):
            compact(log, out)
    assert [path.name for path in out.iterdir()] == [STATE]
    with pytest.raises(PairLogError, match="nothing there"):
        compact(log, out.parent / "nowhere")
