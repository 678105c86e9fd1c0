"""Loading what users did from a facts file: items seen and last events, shared by all model versions.

The file is read in batches, so memory does not grow with it. What users did since the file was written, and the API
stored meanwhile, is kept: facts are joined in Redis, user by user, in one step. Next module: `bentos.redis_server`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bentos.errors import FeatureStoreError
from bentos.feature_loading import Command, Loaded, Marker, Portion, executed
from bentos.feature_scripts import LOAD_FACTS
from bentos.feature_versions import Progress
from bentos.features import LAST_EVENTS, LATEST_US, LONGEST_ID, events_key, seen_key

FACTS: Final = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("rating", pa.float32()), ("timestamp_us", pa.int64())]
)
"""The columns of a facts file, in the ascending order of user and time."""
ROWS: Final = 65_536
"""Rows read at once; a user with more is read whole."""
USERS_PER_STEP: Final = 50
"""Users joined in one step of Redis, during which it answers no one: a third of a millisecond."""
WRITE: Final = "Write it with understudy data facts."


class FactsLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded of one facts file. `latest_us`: the last event in it."""

    users: int
    rows: int
    latest_us: int
    loaded_us: int


@dataclass(frozen=True)
class Histories:
    """Whole users of a facts file: row i belongs to the user between starts. `first` is the number of the first row."""

    first: int
    users: list[str]
    bounds: NDArray[np.int64]
    table: pa.Table

    @property
    def end(self) -> int:
        """The number of the row after the last."""
        return self.first + int(self.bounds[-1])


def facts_key(digest: str) -> str:
    """A string: what is loaded of the facts file of this digest; there only when all of it is."""
    return f"facts:{digest}"


def load_facts(client: Any, path: Path, progress: Progress, *, again: bool = False) -> Loaded:
    """Load the facts file at `path`, unless it is there and not wanted `again`. `FeatureStoreError` if unfit."""
    file, digest = _open(path), _digest(path)
    if again:
        client.delete(facts_key(digest), f"loading:facts:{digest}")
    elif (value := client.get(facts_key(digest))) is not None:
        return Loaded(msgspec.json.decode(value, type=FactsLoaded).users, already=True)
    marker = Marker.of(client, f"loading:facts:{digest}")
    users, merged, latest, skipped = 0, 0, 0, 0

    def portions() -> Iterator[Portion]:
        nonlocal users, latest, skipped
        for histories in _histories(file, path):
            users += len(histories.users)
            latest = max(latest, int(pc.max(histories.table["timestamp_us"]).as_py()))
            if histories.end <= marker.done:
                skipped = users
                continue
            commands: list[Command] = [
                ("EVAL", LOAD_FACTS, len(keys), *keys, LAST_EVENTS, *values) for keys, values in _steps(histories)
            ]
            yield [*commands, marker.command(histories.end)], histories.end

    for replies, done in executed(client, portions()):
        marker.check(replies[-1])
        merged += sum(replies[:-1])
        progress(done, file.metadata.num_rows)
    loaded = FactsLoaded(users=users, rows=file.metadata.num_rows, latest_us=latest, loaded_us=time.time_ns() // 1000)
    pipeline = client.pipeline(transaction=True)
    pipeline.set(facts_key(digest), msgspec.json.encode(loaded))
    pipeline.delete(f"loading:facts:{digest}")
    pipeline.execute()
    return Loaded(users, resumed_at=skipped, merged=merged)


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FeatureStoreError(f"{path}: not a facts file ({error}). {WRITE}") from error
    if not file.schema_arrow.equals(FACTS):
        raise FeatureStoreError(f"{path}: columns {file.schema_arrow.names}, not {FACTS.names}. {WRITE}")
    if not file.metadata.num_rows:
        raise FeatureStoreError(f"{path}: no rows. {WRITE}")
    return file


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()[:12]


def _histories(file: pq.ParquetFile, path: Path) -> Iterator[Histories]:
    """The file's rows in portions of whole users; `FeatureStoreError` at the first that does not fit."""
    rest, first, before = FACTS.empty_table(), 0, ""
    try:
        for batch in file.iter_batches(ROWS):
            table = pa.concat_tables([rest, pa.Table.from_batches([batch])]).combine_chunks()
            bounds = _bounds(table, path, before)
            # The last user may go on in the next batch.
            if len(bounds) > 2:
                yield _portion(table, bounds[:-1], first)
                before = table["user_id"][int(bounds[-2]) - 1].as_py()
            rest, first = table.slice(int(bounds[-2])), first + int(bounds[-2])
    except pa.ArrowInvalid as error:
        raise FeatureStoreError(f"{path}: damaged ({error}). {WRITE}") from error
    if len(rest):
        yield _portion(rest, _bounds(rest.combine_chunks(), path, before), first)


def _bounds(table: pa.Table, path: Path, before: str) -> NDArray[np.int64]:
    """Where each user begins, and the end, of rows that come after the user `before`."""
    if any(column.null_count for column in table.columns):
        raise FeatureStoreError(f"{path}: null values. {WRITE}")
    user = table["user_id"]
    changes = pc.not_equal(user[1:], user[:-1]).to_numpy()
    if reason := _problem(table, changes, before):
        raise FeatureStoreError(f"{path}: {reason}. {WRITE}")
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [len(table)]]).astype(np.int64)


def _problem(table: pa.Table, changes: NDArray[np.bool_], before: str) -> str:
    """What does not fit; "" when all does."""
    user, item, rating, time_us = table.columns
    for name, ids in (("user_id", user), ("item_id", item)):
        bytes_of = pc.binary_length(ids)
        if pc.min(bytes_of).as_py() < 1 or pc.max(bytes_of).as_py() > LONGEST_ID:
            return f"{name} must have 1 to {LONGEST_ID} bytes"
    if pc.any(pc.match_substring(item, "\n")).as_py():
        return "item_id must be one line"
    if not pc.all(pc.less_equal(pc.abs(rating), 1e9)).as_py():
        return "rating must be a number of at most 1e9"
    when = time_us.to_numpy()
    if when.min() < 0 or when.max() >= LATEST_US:
        return "timestamp_us must lie between 0 and 2^53 µs"
    if pc.any(pc.less(user[1:], user[:-1])).as_py() or user[0].as_py() <= before:
        return "not ordered by user"
    return "not ordered by time within a user" if np.any((np.diff(when) < 0) & ~changes) else ""


def _portion(table: pa.Table, bounds: NDArray[np.int64], first: int) -> Histories:
    users = table["user_id"].take(pa.array(bounds[:-1])).to_pylist()
    return Histories(first, users, bounds, table.slice(0, int(bounds[-1])))


def _steps(histories: Histories) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Keys and values of some users at a time."""
    table, bounds = histories.table, histories.bounds
    # An item's id is made once, not once a row; numpy makes numbers faster than Arrow does.
    coded = table["item_id"].combine_chunks().dictionary_encode()
    item = np.array(coded.dictionary.to_pylist(), dtype=object)[coded.indices.to_numpy()].tolist()
    rating, when = (table[name].to_numpy().tolist() for name in ("rating", "timestamp_us"))
    pack = msgspec.msgpack.Encoder().encode
    for start in range(0, len(histories.users), USERS_PER_STEP):
        keys: list[bytes] = []
        values: list[bytes] = []
        for number, user in enumerate(histories.users[start : start + USERS_PER_STEP], start):
            low, high = int(bounds[number]), int(bounds[number + 1])
            last = slice(max(low, high - LAST_EVENTS), high)
            keys += (seen_key(user), events_key(user))
            values += (
                "\n".join(dict.fromkeys(item[low:high])).encode(),
                pack(list(zip(item[last], rating[last], when[last], strict=True))),
            )
        yield keys, values
