"""From rows to triples: one row per request with the primary's, the control's and the shadow's answer joined.

The two records of a request may lie in different segments, so parts of a log cannot be joined each for itself; they are
mapped to rows (`analysis.reading`), and all rows are joined here, in one order whatever the parts were. Lists stay
numbers of a table: what is measured on them is worked out once per distinct list, or pair of lists.
Next module: `analysis.aggregates`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis import list_arrays
from analysis.aggregates import Clusters, Floats, Integers, time_blocks
from analysis.items import Items
from analysis.populations import Exposures, exposures
from analysis.reading import ABSENT, ANSWERED, FAILED, FAILED_SOURCE, MISSING
from analysis.rows import EMPTY_LIST, NOTHING, Codes, Hashes, Rows

__all__ = ["ABSENT", "ANSWERED", "FAILED", "FAILED_SOURCE", "MISSING"]

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


@dataclass
class Tally:
    """What was counted in the log, per arm: outcomes, why copies are missing, versions, records that came twice.

    `clock_back` came after their router's clock was set back, `ahead` have an event time well after their arrival.
    """

    experiments: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    missing: dict[str, Counter[str]] = field(default_factory=dict)
    versions: dict[str, Counter[str]] = field(default_factory=dict)
    duplicates: int = 0
    reused_ids: int = 0
    unusable_primary: Counter[str] = field(default_factory=Counter)
    client_mistakes: int = 0
    first_event_us: int | None = None
    last_event_us: int | None = None
    last_arrival_us: int | None = None
    clock_back: int = 0
    ahead: int = 0


def join(rows: Rows, items: Items) -> tuple[Triples, Tally]:
    """The triples of all rows, and what was counted; the order of the rows does not matter.

    Of two records of the same arm and request the one that its router numbered first counts; the primary's answer is
    that of the request's first record.
    """
    ordered = rows.take(_order(rows))
    same = np.asarray(_unchanged(ordered.experiment, ordered.incarnation, ordered.sequence, ordered.request))
    known = ordered.take(~same) if same.any() else ordered
    tally = _tally(known)
    starts = ~_unchanged(known.event_us, known.user, known.request)
    request_of = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    usable = known.fault[first] == known.code("")
    mistakes = np.array([name.startswith("status 4") for name in known.names], dtype=np.bool_)
    mistaken = mistakes[known.fault[first]]
    _count_requests(tally, known, first, usable, mistaken)
    table = ListTable(known.lists, items)
    arms = {}
    for arm in sorted(tally.records):
        where, sides = _sides(known, arm, request_of)
        tally.duplicates += tally.records[arm] - len(sides)
        lost = (known.state[sides] == MISSING) & ~mistaken[where]
        if lost.any():
            tally.missing[arm] = _counter(known, known.why[sides[lost]])
        arms[arm] = _columns(known, where, sides, first, table).take(usable)
    kept = first[usable]
    triples = Triples(
        requests=known.request[kept],
        users=known.user[kept],
        event_us=known.event_us[kept],
        buckets=known.bucket[kept].astype(np.int64),
        lists=known.primary_list[kept],
        sources=known.primary_source[kept],
        latency_us=known.primary_latency_us[kept],
        names=known.names,
        table=table,
        arms=arms,
    )
    return triples, tally


def _order(rows: Rows) -> npt.NDArray[np.intp]:
    """By request (event time first), within it as the routers numbered its records.

    Logs come nearly in the order of time, which a stable sort by it is quick with; only requests of the very same time
    are then sorted by user and id.
    """
    order = np.lexsort((rows.sequence, _ranks(rows)))
    order = order[np.argsort(rows.event_us[order], kind="stable")]
    same_time = _unchanged(rows.event_us[order])
    strangers = same_time & ~_unchanged(rows.user[order], rows.request[order])
    if strangers.any():
        times = np.cumsum(~same_time) - 1
        among = np.flatnonzero((np.bincount(times, weights=strangers) > 0)[times])
        mixed = order[among]
        order[among] = mixed[np.lexsort((rows.request[mixed], rows.user[mixed], rows.event_us[mixed]))]
    return order


def _ranks(rows: Rows) -> npt.NDArray[np.intp]:
    """The place of each record's incarnation in alphabetical order."""
    rank = np.argsort(np.argsort(np.array(rows.names, dtype=np.str_), kind="stable"), kind="stable")
    return rank[rows.incarnation]


def _unchanged(*columns: npt.NDArray[Any]) -> Flags:
    """Where all columns are as in the row before."""
    found = np.ones(len(columns[0]), dtype=np.bool_)
    found[:1] = False
    for column in columns:
        found[1:] &= column[1:] == column[:-1]
    return found


def _sides(rows: Rows, arm: str, request_of: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The requests that one arm was shown, and the record that counts for each."""
    sides = np.flatnonzero(rows.arm == rows.code(arm))
    sides = sides[~_unchanged(request_of[sides])]
    return request_of[sides], sides


def _columns(
    rows: Rows,
    where: npt.NDArray[np.intp],
    sides: npt.NDArray[np.intp],
    first: npt.NDArray[np.intp],
    table: ListTable,
) -> ArmColumns:
    def spread(column: npt.NDArray[Any], absent: int) -> npt.NDArray[Any]:
        whole = np.full(len(first), absent, dtype=column.dtype)
        whole[where] = column[sides]
        return whole

    return ArmColumns(
        state=spread(rows.state, ABSENT),
        latency_us=spread(rows.latency_us, -1),
        lists=spread(rows.arm_list, EMPTY_LIST),
        primary=rows.primary_list[first],
        sources=spread(rows.arm_source, rows.code(FAILED_SOURCE)),
        names=rows.names,
        table=table,
    )


def _tally(rows: Rows) -> Tally:
    tally = Tally(experiments=_counter(rows, rows.experiment), records=_counter(rows, rows.arm))
    versions = {"primary": _counter(rows, rows.primary_version)}
    for arm in tally.records:
        mine = rows.arm == rows.code(arm)
        tally.outcomes[arm] = _counter(rows, rows.outcome[mine])
        versions[arm] = versions.get(arm, Counter()) + _counter(rows, rows.arm_version[mine])
    tally.versions = {arm: counts for arm, counts in versions.items() if counts}
    if len(rows):
        tally.first_event_us, tally.last_event_us = int(rows.event_us.min()), int(rows.event_us.max())
        tally.last_arrival_us = int(rows.arrival_us.max())
        tally.clock_back = _after_a_jump(rows)
        tally.ahead = int((rows.event_us > rows.arrival_us + JUMP_US).sum())
    return tally


JUMP_US: Final = 60_000_000
"""More than a router's records are out of order for their deadlines; a clock that goes back further was set."""


def _after_a_jump(rows: Rows) -> int:
    """Records that arrived, by their router's clock, well before one that it had numbered earlier."""
    order = np.lexsort((rows.sequence, rows.incarnation, rows.experiment))
    starts = np.flatnonzero(~_unchanged(rows.experiment[order], rows.incarnation[order]))
    parts = np.split(rows.arrival_us[order], starts[1:])
    return sum(int((part < np.maximum.accumulate(part) - JUMP_US).sum()) for part in parts)


def _count_requests(tally: Tally, rows: Rows, first: npt.NDArray[np.intp], usable: Flags, mistaken: Flags) -> None:
    """What is wrong with whole requests. The client's own mistake (4xx) has no list to lose; all else that cannot be
    judged is loss."""
    tally.reused_ids = int(_unchanged(np.sort(rows.request[first])).sum())
    tally.unusable_primary = _counter(rows, rows.fault[first[~usable]])
    tally.client_mistakes = int(mistaken.sum())


def _counter(rows: Rows, codes: Codes) -> Counter[str]:
    """How often each name stands in `codes`."""
    counts = np.bincount(codes[codes != NOTHING], minlength=len(rows.names))
    return Counter({name: int(count) for name, count in zip(rows.names, counts, strict=True) if count})
