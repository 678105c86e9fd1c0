"""A pair log as Arrow: typed columns, batches bounded in rows and bytes, so memory does not grow with the log.

    duckdb.from_arrow(read_batches("s3://bucket/pairs", "demo").reader()).aggregate("arm, outcome, count(*)")

(`primary` is a word of SQL: there it is written `"primary".status`.) Same trust and same counting as
`shadow.segments`. Next module: `shadow.watermark`, how far a log is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa

from shadow.contracts import Answer, Exposure, PairRecord
from shadow.log_health import LogHealth
from shadow.segments import Log, read_exposures, read_pairs

ROWS: Final = 8_192
"""Most rows of a batch."""
BYTES: Final = 16 << 20
"""A batch ends with the row that brings its bodies and targets beyond so many bytes."""
ROW_BYTES: Final = 400
"""What a row counts besides its bodies and target (measured: some 300 bytes of numbers, names and offsets)."""

Kind = Literal["pairs", "exposures"]

ANSWER: Final = pa.struct(
    [
        pa.field("version", pa.string(), nullable=False),
        pa.field("status", pa.int16(), nullable=False),
        pa.field("connect_us", pa.int64(), nullable=False),
        pa.field("queue_us", pa.int64(), nullable=False),
        pa.field("upstream_us", pa.int64(), nullable=False),
        pa.field("body", pa.string(), nullable=False),
        pa.field("body_encoding", pa.string(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
    ]
)
"""One side's answer, by the fields of `shadow.contracts.Answer`; null where the side has none."""
_TEXTS: Final = frozenset(
    {"request_id", "experiment", "incarnation", "method", "target", "unit", "arm", "outcome"}
    | {"assigned", "served", "version", "error"}
)
_NARROW: Final = {"schema_version": pa.int16(), "bucket": pa.int32(), "status": pa.int16()}


def _schema(kind: type[PairRecord | Exposure]) -> pa.Schema:
    def column(name: str) -> pa.Field:
        if name in ("primary", "arm_answer"):
            return pa.field(name, ANSWER, nullable=True)
        return pa.field(name, pa.string() if name in _TEXTS else _NARROW.get(name, pa.int64()), nullable=False)

    return pa.schema([column(name) for name in kind.__struct_fields__])


PAIRS: Final = _schema(PairRecord)
"""The columns of pairs: the fields of `shadow.contracts.PairRecord`; times in µs since the epoch, UTC."""
EXPOSURES: Final = _schema(Exposure)
"""The columns of exposures, by `shadow.contracts.Exposure`."""


@dataclass
class Batches:
    """The record batches of a log; can be iterated again. `health` is known after a full iteration.

    Rows whose numbers no column can hold are left out and counted as `undecodable`.
    """

    log: Log[Any]
    schema: pa.Schema
    rows: int = ROWS
    bytes: int = BYTES
    _left_out: int = field(default=0, repr=False)

    @property
    def health(self) -> LogHealth:
        """See `shadow.segments.Log.health`."""
        health = self.log.health
        health.undecodable += self._left_out
        health.records -= self._left_out
        self._left_out = 0
        return health

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self._left_out = 0
        for rows in bounded(self.log, self.rows, self.bytes):
            batch, left_out = to_batch(rows, self.schema)
            self._left_out += left_out
            if batch.num_rows:
                yield batch

    def reader(self) -> pa.RecordBatchReader:
        """The same as a stream for whatever takes one (DuckDB, Parquet, pandas)."""
        return pa.RecordBatchReader.from_batches(self.schema, iter(self))


def read_batches(
    location: str | Path,
    experiment: str | None = None,
    kind: Kind = "pairs",
    rows: int = ROWS,
    bytes: int = BYTES,  # noqa: A002 - the unit
) -> Batches:
    """The pairs or exposures of the log at `location` as Arrow record batches of `PAIRS` or `EXPOSURES`.

    At most `rows` rows in a batch, and at most `bytes` and one row more. `PairLogError` as from `read_pairs`.
    """
    if kind == "pairs":
        return Batches(read_pairs(location, experiment), PAIRS, rows, bytes)
    return Batches(read_exposures(location, experiment), EXPOSURES, rows, bytes)


def bounded(records: Iterable[Any], rows: int, most_bytes: int) -> Iterator[list[Any]]:
    """`records` in lists of at most `rows`, each ended by the record that brings it over `most_bytes`."""
    held: list[Any] = []
    size = 0
    for record in records:
        held.append(record)
        size += size_of(record)
        if len(held) >= rows or size >= most_bytes:
            yield held
            held, size = [], 0
    if held:
        yield held


def size_of(record: PairRecord | Exposure) -> int:
    """About the bytes that a record takes in memory."""
    if isinstance(record, Exposure):
        return ROW_BYTES
    primary, other = record.primary, record.arm_answer
    bodies = (len(primary.body) if primary is not None else 0) + (len(other.body) if other is not None else 0)
    return ROW_BYTES + len(record.target) + bodies


def to_batch(rows: Sequence[Any], schema: pa.Schema) -> tuple[pa.RecordBatch, int]:
    """The rows as one batch, and how many had numbers beyond a column's range and were left out."""
    try:
        return pa.record_batch([_column(rows, each) for each in schema], schema=schema), 0
    except (OverflowError, pa.ArrowInvalid):
        good = [row for row in rows if _fits(row, schema)]
        return pa.record_batch([_column(good, each) for each in schema], schema=schema), len(rows) - len(good)


def _fits(row: Any, schema: pa.Schema) -> bool:
    try:
        for each in schema:
            _column([row], each)
    except (OverflowError, pa.ArrowInvalid):
        return False
    return True


def _column(rows: Sequence[Any], column: pa.Field) -> pa.Array:
    values = list(map(attrgetter(column.name), rows))
    return _answers(values) if column.type == ANSWER else pa.array(values, column.type)


def _answers(values: Sequence[Answer | None]) -> pa.StructArray:
    """Column by column: an array of dicts would cost five times as much."""
    whole = [_NONE if value is None else value for value in values]
    columns = [pa.array(list(map(attrgetter(field.name), whole)), field.type) for field in ANSWER]
    mask = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(columns, fields=list(ANSWER), mask=mask)


_NONE: Final = Answer(version="", status=0)
"""Stands under a null."""
