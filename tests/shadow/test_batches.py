"""Batches: the same records as Arrow, typed, bounded in rows and bytes, and readable by who reads Arrow."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa
import pytest

from shadow.batches import EXPOSURES, PAIRS, read_batches
from shadow.contracts import Answer, Exposure, PairRecord
from shadow.segments import read_exposures, read_pairs
from tests.shadow import written


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    lines = [
        written.pair(0),
        written.exposure(1),
        written.pair(2, arm_answer=None, outcome="dropped:queue_full"),
        written.pair(3, primary=None, outcome="primary_error", unit="", bucket=999_999, target="/é?x=" + "%" * 9),
        written.pair(4, primary=Answer(version="v", status=599, body="AP8=", body_encoding="base64", truncated=True)),
        written.exposure(5, served="", status=0, version="", error="timeout"),
    ]
    written.incarnation(tmp_path, lines, per_segment=4)
    return tmp_path


def test_rows_are_the_records_field_by_field(mixed: Path) -> None:
    pairs, exposures = read_batches(mixed), read_batches(mixed, "test", "exposures")
    rows = [row for batch in pairs for row in batch.to_pylist()]
    assert [msgspec.convert(row, PairRecord) for row in rows] == list(read_pairs(mixed))
    rows = [row for batch in exposures for row in batch.to_pylist()]
    assert [msgspec.convert(row, Exposure) for row in rows] == list(read_exposures(mixed))
    assert all(batch.schema == PAIRS for batch in pairs)
    assert all(batch.schema == EXPOSURES for batch in exposures)
    assert (pairs.health.records, pairs.health.other_kind, pairs.health.problems()) == (4, 2, [])


def test_every_field_of_the_contract_is_a_column() -> None:
    assert tuple(PAIRS.names) == PairRecord.__struct_fields__
    assert tuple(EXPOSURES.names) == Exposure.__struct_fields__
    assert tuple(field.name for field in PAIRS.field("primary").type) == Answer.__struct_fields__


def test_batches_are_bounded_in_rows_and_in_bytes(tmp_path: Path) -> None:
    written.incarnation(tmp_path, [written.pair(number) for number in range(50)])
    assert [batch.num_rows for batch in read_batches(tmp_path, rows=20)] == [20, 20, 10]
    sizes = [batch.nbytes for batch in read_batches(tmp_path, bytes=5_000)]
    assert len(sizes) > 5
    assert max(sizes) < 5_000 + 2_000


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """The longer log is ten times the shorter; its batches are of the same size, and nothing else is held."""
    peaks = []
    for name, many in (("short", 1_000), ("long", 10_000)):
        records = (written.pair(number, name) for number in range(many))
        written.incarnation(tmp_path / name, list(records), per_segment=1_000, per_frame=100)
        batches = read_batches(tmp_path / name, rows=500)
        tracemalloc.start()
        assert sum(batch.num_rows for batch in batches) == many
        peaks.append(tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes())
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_duckdb_reads_the_stream(mixed: Path) -> None:
    pairs = read_batches(mixed).reader()  # noqa: F841 - DuckDB finds it by its name
    query = 'select outcome, count(*), max("primary".status) from pairs group by outcome order by outcome'
    assert duckdb.sql(query).fetchall() == [
        ("dropped:queue_full", 1, 200),
        ("paired", 2, 599),
        ("primary_error", 1, None),
    ]


def test_a_number_that_no_column_holds_costs_its_row_and_is_counted(tmp_path: Path) -> None:
    lines = [written.pair(0), written.pair(1, arrival_us=1 << 63), written.pair(2, bucket=1 << 31), written.pair(3)]
    written.incarnation(tmp_path, lines)
    batches = read_batches(tmp_path)
    assert [row["sequence"] for batch in batches for row in batch.to_pylist()] == [0, 3]
    assert (batches.health.undecodable, batches.health.records) == (2, 2)
    assert (batches.health.undecodable, batches.health.records) == (2, 2)
