"""A part of a pair log as columns: one row per record, texts as numbers of a table of names, lists of a table of lists.

This is what a part of a log is mapped to and what is added: parts may be cut anywhere and put together in any order
(`together`), the join of both arms of a request (`analysis.load`) sorts them anyway. About 100 bytes a record and 48 a
distinct list. Next module: `analysis.reading`, which fills it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis.list_arrays import Lists

NOTHING: Final = -1
"""The name of what is not there."""
EMPTY_LIST: Final = 0
"""The list without items, in every table of lists: what a failed call counts as."""

Codes = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Rows:
    """The records of a part. All but the tables have one entry per record.

    `request` and `user` are 64-bit hashes of the request id and of the unit (of the request id where there is none,
    then `bucket` is −1). `state` is the arm's (`analysis.reading`), `why` says why it failed or is missing, `fault`
    what is wrong with the primary's answer; these and the other texts are numbers of `names` or NOTHING. `latency_us`
    is −1 where nothing was answered. `primary_list` and `arm_list` are rows of `lists`, shape (lists, K), whose
    `digests` tell whole lists apart, of any length.
    """

    request: Hashes
    user: Hashes
    event_us: npt.NDArray[np.int64]
    arrival_us: npt.NDArray[np.int64]
    bucket: npt.NDArray[np.int32]
    sequence: npt.NDArray[np.int64]
    state: npt.NDArray[np.int8]
    latency_us: npt.NDArray[np.int64]
    primary_latency_us: npt.NDArray[np.int64]
    experiment: Codes
    incarnation: Codes
    arm: Codes
    outcome: Codes
    why: Codes
    fault: Codes
    primary_version: Codes
    arm_version: Codes
    primary_source: Codes
    arm_source: Codes
    primary_list: Codes
    arm_list: Codes
    names: tuple[str, ...]
    lists: Lists
    digests: Hashes

    def __len__(self) -> int:
        return len(self.request)

    def take(self, rows: npt.NDArray[Any]) -> Rows:
        """The records at `rows` (indices or a mask), with the same tables."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def code(self, name: str) -> int:
        """The number of a name; NOTHING when no record bears it."""
        return self.names.index(name) if name in self.names else NOTHING


TABLES: Final = ("names", "lists", "digests")
NAMED: Final = (
    "experiment",
    "incarnation",
    "arm",
    "outcome",
    "why",
    "fault",
    "primary_version",
    "arm_version",
    "primary_source",
    "arm_source",
)
"""The columns that hold numbers of `names`."""
LISTED: Final = ("primary_list", "arm_list")
COLUMNS: Final = tuple(each.name for each in fields(Rows) if each.name not in TABLES)


def together(parts: Sequence[Rows]) -> Rows:
    """All parts as one. Names are in alphabetical order and lists in that of their digests, so that the tables do not
    depend on how the log was cut. `ValueError` when there is no part."""
    if not parts:
        raise ValueError("a log of no parts has no rows")
    names = tuple(sorted(set().union(*(part.names for part in parts))))
    place = {name: number for number, name in enumerate(names)}
    digests, first, into = np.unique(
        np.concatenate([part.digests for part in parts]), return_index=True, return_inverse=True
    )
    columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in COLUMNS}
    start = 0
    for part in parts:
        # One more at the end: the row that −1, NOTHING, finds.
        renamed = np.array([*(place[name] for name in part.names), NOTHING], dtype=np.int32)
        relisted = into[start : start + len(part.digests)].astype(np.int32)
        start += len(part.digests)
        for name in COLUMNS:
            column = getattr(part, name)
            column = renamed[column] if name in NAMED else relisted[column] if name in LISTED else column
            columns[name].append(column)
    lists = np.concatenate([part.lists for part in parts])[first]
    return Rows(
        **{name: np.concatenate(each) for name, each in columns.items()}, names=names, lists=lists, digests=digests
    )
