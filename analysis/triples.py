"""A log as arrays: one row per request with the primary's, the control's and the shadow's answer side by side.

Lists stay numbers of a table: what is measured on them is worked out once per distinct list, or pair of lists.
Next module: `analysis.aggregates`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis import list_arrays
from analysis.aggregates import Clusters, Floats, Integers, time_blocks
from analysis.items import Items
from analysis.populations import Exposures, exposures
from analysis.reading import ANSWERED, FAILED
from analysis.rows import Codes, Hashes

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ListTable:
    """The distinct lists of a log, their first K items as numbers, and what is measured on each; arrays (lists,)."""

    lists: list_arrays.Lists
    items: Items

    @cached_property
    def length(self) -> Floats:
        """Filled slots of the first K."""
        return list_arrays.lengths(self.lists).astype(np.float64)

    @cached_property
    def empty(self) -> Flags:
        """No item at all."""
        return np.asarray(self.length == 0)

    @cached_property
    def tail(self) -> Floats:
        """Share outside the head."""
        return list_arrays.tail_shares(self.lists, self.items)

    @cached_property
    def unknown(self) -> Floats:
        """Share of ids that the catalogue does not hold."""
        return list_arrays.unknown_shares(self.lists)

    @cached_property
    def repeated(self) -> Floats:
        """Share of slots that repeat an id."""
        return list_arrays.duplicate_shares(self.lists)

    @cached_property
    def novelty(self) -> Floats:
        """Mean self-information in bits; 0 throughout when the catalogue holds no popularity."""
        popularity = self.items.popularity
        return np.zeros(len(self.lists)) if popularity is None else list_arrays.novelties(self.lists, popularity)

    @cached_property
    def diversity(self) -> Floats:
        """Mean distance of genres within the list; 0 throughout when the catalogue holds none."""
        features = self.items.features
        return np.zeros(len(self.lists)) if features is None else list_arrays.diversities(self.lists, features)


@dataclass(frozen=True)
class ArmColumns:
    """One arm at every request: `lists` and `primary` are rows of `table`, `sources` numbers of `names`.

    Where it failed its list is the empty one and `latency_us` is −1.
    """

    state: npt.NDArray[np.int8]
    latency_us: Integers
    lists: Codes
    primary: Codes
    sources: Codes
    names: tuple[str, ...]
    table: ListTable

    @property
    def judged(self) -> Flags:
        """Where the arm answered or failed."""
        return np.asarray(self.state >= FAILED)

    @property
    def tail(self) -> Floats:
        """Share of the long tail in its list."""
        return self.table.tail[self.lists]

    @property
    def identical(self) -> Flags:
        """Whether it answered with the primary's very list, of any length."""
        return np.asarray((self.state == ANSWERED) & (self.lists == self.primary))

    @cached_property
    def _pairs(self) -> tuple[Integers, npt.NDArray[np.intp]]:
        return np.unique(self.primary.astype(np.int64) * len(self.table.lists) + self.lists, return_inverse=True)

    @cached_property
    def matches(self) -> list_arrays.Matches:
        """What the primary's list and its own share, for each distinct pair of lists."""
        first, second = np.divmod(self._pairs[0], len(self.table.lists))
        return list_arrays.matches(self.table.lists[first], self.table.lists[second])

    def with_primary(self, per_pair: Floats) -> Floats:
        """A value of `matches` at every request."""
        return per_pair[self._pairs[1]]

    def take(self, rows: npt.NDArray[Any]) -> ArmColumns:
        """The requests at `rows`."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ARM_COLUMNS})


@dataclass(frozen=True)
class Triples:
    """One row per request whose primary answer is usable, by event time; every array has as many entries.

    `requests` and `users` are hashes (`analysis.rows`), `lists` and `sources` the primary's.
    """

    requests: Hashes
    users: Hashes
    event_us: Integers
    buckets: Integers
    lists: Codes
    sources: Codes
    latency_us: Integers
    names: tuple[str, ...]
    table: ListTable
    arms: dict[str, ArmColumns]

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def tail(self) -> Floats:
        """Share of the long tail in the primary's lists."""
        return self.table.tail[self.lists]

    @cached_property
    def _clusters(self) -> dict[int, Clusters]:
        return {}

    def clusters(self, block_us: int) -> Clusters:
        """Users and blocks of event time, numbered once for all metrics."""
        if block_us not in self._clusters:
            self._clusters[block_us] = Clusters.of(self.users, time_blocks(self.event_us, block_us))
        return self._clusters[block_us]

    def exposures(self, arm: str) -> tuple[Exposures, Exposures]:
        """What one arm's lists and the primary's showed on the requests on which the arm was judged."""
        judged, items = self.arms[arm].judged, len(self.table.items)
        users = self.users[judged]
        first, second = (
            exposures(users, lists[judged], self.table.lists, items) for lists in (self.arms[arm].lists, self.lists)
        )
        return first, second

    def take(self, rows: npt.NDArray[Any]) -> Triples:
        """The requests at `rows` (indices or a mask), as a log of their own."""
        columns = {name: getattr(self, name)[rows] for name in TRIPLE_COLUMNS}
        return replace(self, arms={name: arm.take(rows) for name, arm in self.arms.items()}, **columns)


ARM_COLUMNS: Final = ("state", "latency_us", "lists", "primary", "sources")
TRIPLE_COLUMNS: Final = tuple(each.name for each in fields(Triples) if each.name not in ("names", "table", "arms"))
