"""The map over a log's parts: here, in processes of this machine, or on a Dask cluster; the same rows in every way.

Each part becomes rows and a note of what is wrong with its segments (`shadow.log_parts`); both are added in the log's
order, and `analysis.load` joins them. Next module: `analysis.load`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

import numpy as np

from analysis.adapters import ADAPTERS
from analysis.items import Items
from analysis.reading import read_rows
from analysis.rows import Rows, together
from shadow.log_health import LogHealth
from shadow.log_parts import Segment, batches_of, read_segments, segments_of, whole_health
from shadow.segments import PairLog, Reading

PART_BYTES: Final = 4 << 20
"""Compressed bytes of a part: some 20,000 pairs."""
WORTH_BYTES: Final = 16 << 20
"""A log shorter than this is read in this process: others would take longer to start."""

Part = tuple[Rows, Reading]


class SchedulerError(Exception):
    """A Dask scheduler that cannot be used; the text says why and what to do."""


def read_log(
    log: PairLog, adapter: str, items: Items, processes: int = 1, scheduler: str | None = None
) -> tuple[Rows, LogHealth]:
    """The rows of a whole log and its health, read by `processes` processes or by the workers of `scheduler`.

    `PairLogError` when the log cannot be read, `SchedulerError` when the scheduler cannot be used.
    """
    segments = segments_of(log)
    batches = batches_of(segments, PART_BYTES)
    if scheduler is not None:
        parts = on_dask(batches, adapter, items, scheduler)
    elif processes > 1 and sum(segment.bytes for segment in segments) >= WORTH_BYTES:
        parts = in_processes(batches, adapter, items, processes)
    else:
        parts = [read_part(batch, adapter, items) for batch in batches]
    rows = together([part for part, _ in parts] or [read_rows((), ADAPTERS[adapter], items)])
    health, twice = whole_health(log, [reading for _, reading in parts])
    if twice:
        _leave_out(rows, health, twice)
    return rows, health


def read_part(segments: Sequence[Segment], adapter: str, items: Items) -> Part:
    """What some segments hold."""
    reading = Reading()
    return read_rows(read_segments(segments, reading), ADAPTERS[adapter], items), reading


def in_processes(batches: Sequence[list[Segment]], adapter: str, items: Items, processes: int) -> list[Part]:
    """By fresh processes of this machine; each gets the catalogue once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(processes, len(batches)), mp_context=context, initializer=_begin, initargs=(adapter, items)
    ) as pool:
        return list(pool.map(_work, batches))


def on_dask(batches: Sequence[list[Segment]], adapter: str, items: Items, scheduler: str) -> list[Part]:
    """By the workers of the Dask scheduler at `scheduler`; they must reach the log under the same location."""
    try:
        import distributed
    except ImportError as error:
        raise SchedulerError("--scheduler needs Dask: pip install 'understudy-shadow[dask]'") from error
    connect: Any = distributed.Client
    try:
        client = connect(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        text = f"{scheduler}: no Dask scheduler answers there ({error}). Is it tcp://HOST:8786?"
        raise SchedulerError(text) from error
    with client:
        catalogue = client.scatter(items, broadcast=True)
        futures = [client.submit(read_part, batch, adapter, catalogue, pure=False) for batch in batches]
        found: list[Part] = client.gather(futures)
    return found


CONNECT_SECONDS: Final = 10


def _leave_out(rows: Rows, health: LogHealth, twice: int) -> None:
    """Records that two parts yielded count once; those of them that are no rows were of the other kind."""
    keys = np.stack([rows.experiment, rows.incarnation, rows.sequence])
    again = keys.shape[1] - np.unique(keys, axis=1).shape[1]
    health.records -= again
    health.other_kind -= twice - again


_given: tuple[str, Items] | None = None
"""What a process of the pool works with; set once, when it begins."""


def _begin(adapter: str, items: Items) -> None:
    global _given
    _given = adapter, items


def _work(batch: Sequence[Segment]) -> Part:
    assert _given is not None, "a process of the pool begins with _begin"
    return read_part(batch, *_given)
