"""A pair log as Parquet, by kind and by day of event time: what DuckDB, Spark and pandas read without knowing segments.

`OUT/pairs/day=2026-11-30/<experiment>.<incarnation>.<part>.parquet`, the same under `exposures`, and `compacted.json`,
which says what each router's files were made of. Whole routers are made anew when their log has changed, and go when it
is gone; days expire; a run that was cut off goes on where it was. Next module: `shadow.pairs_cli`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shadow.batches import EXPOSURES, PAIRS, size_of, to_batch
from shadow.contracts import Exposure, PairRecord
from shadow.incarnations import Incarnation, file_name, find_incarnations
from shadow.log_store import LogStore, PairLogError
from shadow.segments import Log
from shadow.watermark import Watermark, watermark_among

STATE: Final = "compacted.json"
FILE_BYTES: Final = 32 << 20
"""Bytes of records, uncompressed, after which a day's file is written."""
HELD_BYTES: Final = 128 << 20
"""Of all days together; then the fullest day's file is written."""
DAY_US: Final = 86_400_000_000
_OURS: Final = re.compile(r"(pairs|exposures)/day=[0-9]{4}-[0-9]{2}-[0-9]{2}/[^/]+\.[0-9]+\.parquet")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DAY: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH).days


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file below the output."""

    name: str
    rows: int


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one router's log: `source` is the hash of its manifest and its segments' names and sizes."""

    source: str
    files: tuple[File, ...]
    location: str = ""
    """The log that it was made of."""
    from_day: int = 0
    """Days since the epoch: records of earlier ones were left out or have expired."""
    problems: tuple[str, ...] = ()
    left_out: int = 0
    """Records with numbers that no column can hold."""


class Compacted(msgspec.Struct, kw_only=True):
    """`compacted.json`. `watermarks` are those of the log, by experiment, when the last run that came to its end began:
    what a run that was cut off has made may reach further, and never less far."""

    schema_version: int = 1
    watermarks: dict[str, Watermark] = {}
    routers: dict[str, Router] = {}
    made: int = 0
    """Routers that the last run made anew; the others had not changed."""
    removed: int = 0
    """Files that the last run removed: of expired days and logs, and what no router has any more."""


def compact(
    location: str | Path,
    out: str | Path,
    experiment: str | None = None,
    retain_days: float = 0.0,
    keep_expired: bool = False,
    now_us: int | None = None,
) -> Compacted:
    """Bring the Parquet files at `out` (a directory or bucket that is there) up to the log at `location`.

    Days of event time that ended more than `retain_days` before now are left out, and removed (0: none are). What was
    made of routers that `location` held and holds no more is removed, too, unless `keep_expired`. `PairLogError` when
    one of the places cannot be used; run it again to go on. One run at a time.
    """
    store = LogStore(out)
    state, now = read_state(store), time.time_ns() // 1000 if now_us is None else now_us
    from_day = max(0, int(now - retain_days * DAY_US) // DAY_US) if retain_days > 0 else 0
    state.made = state.removed = 0
    _expire(state, from_day)
    _tidy(store, state)  # whatever becomes of the rest: days expire also when the log is gone
    incarnations = find_incarnations(location, experiment)
    # Of what was found, not asked again: a segment uploaded since is not read, and must not be claimed.
    marks, source = _watermarks(incarnations), incarnations[0].store.identity
    if not keep_expired:
        _forget(state, source, experiment, {each.path for each in incarnations})
    for owner, group in groupby(sorted(incarnations, key=lambda each: each.owner), key=lambda each: each.owner):
        directories, name = list(group), "/".join(owner)
        before, digest = state.routers.get(name), _source(directories)
        if before is not None and before.source == digest and before.from_day <= from_day:
            continue
        made = _compact_router(store, directories, from_day)
        state.routers[name] = msgspec.structs.replace(made, source=digest, location=source)
        state.made += 1
        _write_state(store, state)
        _remove(store, state, before.files if before is not None else (), made.files)
    state.watermarks |= marks
    _tidy(store, state)
    _write_state(store, state)
    return state


def _expire(state: Compacted, from_day: int) -> None:
    """Days before `from_day` are nobody's any more."""
    first = f"day={_date(from_day)}"
    for name, router in state.routers.items():
        files = tuple(file for file in router.files if file.name.split("/")[1] >= first)
        if len(files) < len(router.files):
            state.routers[name] = msgspec.structs.replace(router, files=files, from_day=from_day)


def _forget(state: Compacted, source: str, experiment: str | None, there: set[str]) -> None:
    """Routers that the log at `source` holds no more."""
    for name, router in list(state.routers.items()):
        chosen = experiment in (None, name.partition("/")[0])
        if router.location == source and chosen and name not in there:
            del state.routers[name]


def _tidy(store: LogStore, state: Compacted) -> None:
    """Write down what is there, then remove what is nobody's, also what an earlier run that was cut off left."""
    _write_state(store, state)
    kept = [file for router in state.routers.values() for file in router.files]
    _remove(store, state, [File(name=each.name, rows=0) for each in store.list() if _OURS.fullmatch(each.name)], kept)


def _remove(store: LogStore, state: Compacted, old: Iterable[File], kept: Iterable[File]) -> None:
    names = {file.name for file in kept}
    for file in old:
        if file.name not in names:
            store.delete(file.name)
            state.removed += 1


def _watermarks(incarnations: Sequence[Incarnation]) -> dict[str, Watermark]:
    names = sorted({each.experiment for each in incarnations})
    return {name: watermark_among(each for each in incarnations if each.experiment == name) for name in names}


def read_state(store: LogStore) -> Compacted:
    """What earlier runs left at `store`. `PairLogError` when it cannot be read: then nothing is touched."""
    try:
        return msgspec.json.decode(store.read(STATE), type=Compacted)
    except FileNotFoundError:
        return Compacted()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PairLogError(
            f"{store.location}/{STATE}: {error}. Give an empty directory, or remove all of it."
        ) from error


def _write_state(store: LogStore, state: Compacted) -> None:
    store.write(STATE, msgspec.json.format(msgspec.json.encode(state), indent=1))


def _source(directories: Sequence[Incarnation]) -> str:
    digest = hashlib.sha256()
    for each in directories:
        # A manifest that was only renewed tells nothing new.
        manifest = msgspec.structs.replace(each.manifest, written_us=0) if each.manifest else None
        digest.update(msgspec.json.encode((manifest, [(file_name(file), file.bytes) for file in each.files])))
    return digest.hexdigest()


def _compact_router(store: LogStore, directories: list[Incarnation], from_day: int) -> Router:
    files: list[File] = []
    left_out = 0
    problems: tuple[str, ...] = ()
    experiment, incarnation = directories[0].owner
    for kind, record, schema in (("pairs", PairRecord, PAIRS), ("exposures", Exposure, EXPOSURES)):
        log: Log[Any] = Log(directories, record)
        parts: defaultdict[int, int] = defaultdict(int)
        for day, rows in _by_day(log, from_day):
            batch, bad = to_batch(rows, schema)
            left_out += bad
            name = f"{kind}/day={_date(day)}/{experiment}.{incarnation}.{parts[day]}.parquet"
            parts[day] += 1
            store.write(name, _parquet(pa.Table.from_batches([batch], schema)))
            files.append(File(name=name, rows=batch.num_rows))
        problems = tuple(log.health.problems())
        if not log.health.other_kind:
            break
    return Router(source="", files=tuple(files), from_day=from_day, problems=problems, left_out=left_out)


def _by_day(log: Log[Any], from_day: int) -> Iterator[tuple[int, list[Any]]]:
    """The records from a day on in lists of one day of event time each, as long as memory allows."""
    held: defaultdict[int, list[Any]] = defaultdict(list)
    sizes: defaultdict[int, int] = defaultdict(int)
    total = 0
    for record in log:
        day, size = max(0, min(record.event_time_us // DAY_US, _LAST_DAY)), size_of(record)
        if day < from_day:
            continue
        held[day].append(record)
        sizes[day] += size
        total += size
        if sizes[day] >= FILE_BYTES or total >= HELD_BYTES:
            fullest = max(sizes, key=lambda each: sizes[each])
            total -= sizes.pop(fullest)
            yield fullest, held.pop(fullest)
    yield from sorted(held.items())


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def erase_compacted(out: str | Path, units: frozenset[str]) -> int:
    """Take the rows that name one of `units` out of all Parquet files at `out`; how many they were.

    May be repeated. `PairLogError` when `out` cannot be used.
    """
    store = LogStore(out)
    state = read_state(store)
    erased = 0
    rows: dict[str, int] = {}
    for found in store.list():
        if not found.name.endswith(".parquet"):
            continue
        table = pq.read_table(pa.BufferReader(store.read(found.name)), partitioning=None)
        kept = table.filter(pc.invert(_names(table, units)))
        rows[found.name] = kept.num_rows
        if kept.num_rows < table.num_rows:
            erased += table.num_rows - kept.num_rows
            store.write(found.name, _parquet(kept))
    state.routers = {
        name: msgspec.structs.replace(
            router, files=tuple(File(name=each.name, rows=rows.get(each.name, 0)) for each in router.files)
        )
        for name, router in state.routers.items()
    }
    _write_state(store, state)
    return erased


def _names(table: pa.Table, units: frozenset[str]) -> pa.ChunkedArray:
    """Which rows name a unit, in whatever text."""
    pattern = "|".join(sorted(units))
    columns = [table[each.name] for each in table.schema if each.type == pa.string()]
    sides = [side for side in ("primary", "arm_answer") if side in table.schema.names]
    columns += [pc.struct_field(table[side], "body") for side in sides]
    found = pc.fill_null(pc.match_substring_regex(columns[0], pattern), False)
    for column in columns[1:]:
        found = pc.or_(found, pc.fill_null(pc.match_substring_regex(column, pattern), False))
    return found
