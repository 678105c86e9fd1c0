"""From pair records to triples: one row per request with the primary's, the control's and the shadow's answer joined.

What becomes of a copy is decided here, once, by the plan's missing rule. *Answered*: a readable list came. *Failed*:
the arm gave an error, a bad status or an unreadable body, timed out, or its breaker was open; it counts as an empty
list at the deadline. *Missing*: dropped by the router, cancelled, truncated, or the primary itself had no answer to
compare with; it is loss, and counted. Metrics are taken from the bodies while reading, so memory holds numbers, not
lists. Next module: `analysis.aggregates`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis.adapters import Adapter, RankedList, Unreadable
from analysis.aggregates import Floats, Integers, Texts
from analysis.lists import long_tail_share, overlap
from analysis.measures import K
from shadow.contracts import ARM_ERROR, ARM_TIMEOUT, DROPPED, PAIRED, Answer, PairRecord

ABSENT: Final = 0
MISSING: Final = 1
FAILED: Final = 2
ANSWERED: Final = 3
"""States of one arm at one request; from FAILED on it is judged. ABSENT: the arm was not shown the request."""

FAILURES: Final = (ARM_ERROR, ARM_TIMEOUT, DROPPED + "breaker_open", DROPPED + "expired")
FAILED_SOURCE: Final = "(failed)"
"""Stands for the `source` of an answer that never came."""

Flags = npt.NDArray[np.bool_]
_Key = tuple[str, str, int]
"""Request id, unit, event time."""


@dataclass(frozen=True)
class ArmColumns:
    """One arm at every request. `tail` and `overlap` are shares; where it failed they are 0 and `latency_us` is −1."""

    state: npt.NDArray[np.int8]
    latency_us: Integers
    tail: Floats
    empty: Flags
    overlap: Floats
    identical: Flags
    source: Texts

    @property
    def judged(self) -> Flags:
        """Where the arm answered or failed."""
        return np.asarray(self.state >= FAILED)


@dataclass(frozen=True)
class Triples:
    """One row per request whose primary answer is usable, sorted by request id; every array has as many entries."""

    request_ids: Texts
    users: Texts
    event_us: Integers
    buckets: Integers
    tail: Floats
    empty: Flags
    source: Texts
    arms: dict[str, ArmColumns]

    def __len__(self) -> int:
        return len(self.request_ids)

    def take(self, rows: npt.NDArray[Any]) -> Triples:
        """The requests at `rows` (indices or a mask), as a log of their own."""
        arms = {
            name: ArmColumns(**{key: column[rows] for key, column in vars(columns).items()})
            for name, columns in self.arms.items()
        }
        columns = {key: column[rows] for key, column in vars(self).items() if key != "arms"}
        return Triples(**columns, arms=arms)


@dataclass
class Tally:
    """What was counted while reading, per arm: outcomes, why copies are missing, versions, records that came twice."""

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

    def see(self, record: PairRecord) -> None:
        """Count one record as it was logged."""
        self.experiments[record.experiment] += 1
        self.records[record.arm] += 1
        self.outcomes.setdefault(record.arm, Counter())[record.outcome] += 1
        for arm, answer in (("primary", record.primary), (record.arm, record.arm_answer)):
            if answer is not None:
                self.versions.setdefault(arm, Counter())[answer.version] += 1
        event, arrival = record.event_time_us, record.arrival_us
        self.first_event_us = event if self.first_event_us is None else min(self.first_event_us, event)
        self.last_event_us = event if self.last_event_us is None else max(self.last_event_us, event)
        self.last_arrival_us = arrival if self.last_arrival_us is None else max(self.last_arrival_us, arrival)


@dataclass(slots=True)
class _Side:
    """One arm at one request while the log is read."""

    order: tuple[str, int]
    state: int
    why: str
    latency_us: int = -1
    tail: float = 0.0
    empty: bool = True
    overlap: float = 0.0
    identical: bool = False
    source: str = FAILED_SOURCE


@dataclass(slots=True)
class _Request:
    """One request while the log is read; its primary answer is the one of its first record."""

    user: str
    event_us: int
    bucket: int
    order: tuple[str, int]
    fault: str
    tail: float
    empty: bool
    source: str
    sides: dict[str, _Side]


class TripleReader:
    """Joins records into triples; order of the records does not matter. `tail` holds the ids outside the head."""

    def __init__(self, adapter: Adapter, tail: Collection[str]) -> None:
        self.adapter = adapter
        self.tail = frozenset(tail)
        self.tally = Tally()
        self._requests: dict[_Key, _Request] = {}
        self._shares: dict[tuple[str, ...], float] = {}

    def read(self, records: Iterable[PairRecord]) -> Triples:
        """All triples of `records`; may be called once."""
        for record in records:
            self.tally.see(record)
            self._add(record)
        self.tally.reused_ids = len(self._requests) - len({key[0] for key in self._requests})
        usable = []
        for key in sorted(self._requests):
            request = self._requests[key]
            self._count_missing(request)
            if not request.fault:
                usable.append((key[0], request))
        return _columns(usable, sorted(self.tally.records))

    def _add(self, record: PairRecord) -> None:
        order = (record.incarnation, record.sequence)
        primary = self._answer(record.primary, "primary_error")
        # Clients choose request ids, so one may stand on two requests; user and time tell them apart.
        key = (record.request_id, record.unit, record.event_time_us)
        known = self._requests.get(key)
        if known is None:
            known = self._requests[key] = self._request(record, order, primary)
        side = self._side(record, order, primary)
        if record.arm in known.sides:
            self.tally.duplicates += 1
            # The earlier record counts, whatever order the segments were read in.
            side = min(side, known.sides[record.arm], key=lambda each: each.order)
        known.sides[record.arm] = side
        if order < known.order:
            self._requests[key] = self._request(record, order, primary, known.sides)

    def _request(
        self,
        record: PairRecord,
        order: tuple[str, int],
        primary: RankedList | Unreadable,
        sides: dict[str, _Side] | None = None,
    ) -> _Request:
        items = primary.items if isinstance(primary, RankedList) else ()
        return _Request(
            # A request without a user is a cluster of its own.
            user=record.unit or record.request_id,
            event_us=record.event_time_us,
            bucket=record.bucket if record.unit else -1,
            order=order,
            fault=primary.reason if isinstance(primary, Unreadable) else "",
            tail=self._share(items),
            empty=not items,
            source=primary.source if isinstance(primary, RankedList) else "",
            sides=sides if sides is not None else {},
        )

    def _side(self, record: PairRecord, order: tuple[str, int], primary: RankedList | Unreadable) -> _Side:
        if isinstance(primary, Unreadable):
            return _Side(order, MISSING, f"primary: {primary.reason}")
        if record.outcome in FAILURES:
            return _Side(order, FAILED, record.outcome)
        if record.outcome != PAIRED or record.arm_answer is None:
            return _Side(order, MISSING, record.outcome)
        answer = self._answer(record.arm_answer, record.outcome)
        if isinstance(answer, Unreadable):
            return _Side(order, MISSING if answer.reason == "truncated" else FAILED, answer.reason)
        return _Side(
            order,
            ANSWERED,
            "",
            latency_us=record.arm_answer.connect_us + record.arm_answer.upstream_us,
            tail=self._share(answer.items),
            empty=not answer.items,
            overlap=overlap(primary.items, answer.items, K),
            identical=primary.items == answer.items,
            source=answer.source,
        )

    def _answer(self, answer: Answer | None, none: str) -> RankedList | Unreadable:
        if answer is None or answer.status == 0:
            return Unreadable(none)
        if not 200 <= answer.status < 300:
            return Unreadable(f"status {answer.status}")
        return self.adapter(answer)

    def _share(self, items: tuple[str, ...]) -> float:
        # Few distinct lists are served many times (a static list per user, one popularity list for all others).
        if items not in self._shares:
            self._shares[items] = long_tail_share(items, self.tail, K)
        return self._shares[items]

    def _count_missing(self, request: _Request) -> None:
        # The client's own mistake (4xx) has no list to lose; everything else that cannot be judged is loss.
        mistake = request.fault.startswith("status 4")
        if request.fault:
            self.tally.unusable_primary[request.fault] += 1
            self.tally.client_mistakes += mistake
        for arm, side in request.sides.items():
            if side.state == MISSING and not mistake:
                self.tally.missing.setdefault(arm, Counter())[side.why] += 1


def _columns(requests: Sequence[tuple[str, _Request]], arms: Iterable[str]) -> Triples:
    rows = [request for _, request in requests]
    return Triples(
        request_ids=_texts([request_id for request_id, _ in requests]),
        users=_texts([row.user for row in rows]),
        event_us=np.array([row.event_us for row in rows], dtype=np.int64),
        buckets=np.array([row.bucket for row in rows], dtype=np.int64),
        tail=np.array([row.tail for row in rows], dtype=np.float64),
        empty=np.array([row.empty for row in rows], dtype=np.bool_),
        source=_texts([row.source for row in rows]),
        arms={arm: _arm([row.sides.get(arm, _NOT_SHOWN) for row in rows]) for arm in arms},
    )


def _arm(sides: Sequence[_Side]) -> ArmColumns:
    return ArmColumns(
        state=np.array([side.state for side in sides], dtype=np.int8),
        latency_us=np.array([side.latency_us for side in sides], dtype=np.int64),
        tail=np.array([side.tail for side in sides], dtype=np.float64),
        empty=np.array([side.empty for side in sides], dtype=np.bool_),
        overlap=np.array([side.overlap for side in sides], dtype=np.float64),
        identical=np.array([side.identical for side in sides], dtype=np.bool_),
        source=_texts([side.source for side in sides]),
    )


def _texts(values: Sequence[str]) -> Texts:
    return np.array(values, dtype=np.str_)


_NOT_SHOWN: Final = _Side(("", -1), ABSENT, "")
