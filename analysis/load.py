"""From rows to triples: one row per request with the primary's, the control's and the shadow's answer joined.

The two records of a request may lie in different segments, so parts of a log cannot be joined each for itself; they are
mapped to rows (`analysis.reading`), and all rows are joined here, in one order whatever the parts were.
Next module: `analysis.triples`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis.items import Items
from analysis.reading import ABSENT, FAILED_SOURCE, MISSING
from analysis.rows import EMPTY_LIST, NOTHING, Codes, Rows
from analysis.triples import ArmColumns, Flags, ListTable, Triples


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
        ahead = rows.event_us > rows.arrival_us + JUMP_US
        # One that claims to be of next year must not make a look due; where most do, a replay means them so.
        seen = rows.event_us[~ahead] if 2 * ahead.sum() < len(ahead) else rows.event_us
        tally.first_event_us, tally.last_event_us = int(seen.min()), int(seen.max())
        tally.last_arrival_us = int(rows.arrival_us.max())
        tally.clock_back = _after_a_jump(rows)
        tally.ahead = int(ahead.sum())
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
