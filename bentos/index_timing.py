"""What no payload may hold: how long building and searching took here, and how recall grows with time.

A search is timed as it is served: `bentos.retrieval.search` by one user at a time on one thread, what the user has seen
left out, scores by the vectors. Next module: `bentos.index_plot`, which draws it.
"""

from __future__ import annotations

import time
from itertools import cycle, islice
from typing import Final

import msgspec
import numpy as np

from bentos.index import VectorIndex
from bentos.index_choice import Choice
from bentos.index_measure import HeldOut, K, measure
from bentos.index_report import Candidate
from bentos.retrieval import search

QUERIES: Final = 2_000
WARM_UP: Final = 200
POINT_QUERIES: Final = 300
"""Searches that are timed for one point of a curve."""
SHARES: Final = (0.125, 0.25, 0.5, 2.0, 4.0)
"""Efforts of a curve beside the candidate's own, in terms of it."""
CURVED: Final = 0.2
"""Least recall of a point that is kept."""


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of a search, by so many of them."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    queries: int


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate and its times."""

    candidate: Candidate
    build_seconds: float
    times: Times


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One effort of one kind: recall of the users who did not choose, and the median of a search."""

    kind: str
    effort: int
    recall: float
    p50_ms: float


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates of one choice, timed; `version` is the bundle's. `points` are there when they were asked for."""

    version: str
    items: int
    dimension: int
    target: float
    users: int
    seen: str
    reason: str
    candidates: list[Timed]
    points: list[Point]


def times(index: VectorIndex, held: HeldOut, queries: int = QUERIES) -> Times:
    """The times of `queries` searches by the users of `held`, in turn, after some that are not counted."""
    asked = zip(cycle(held.queries), cycle(held.seen), strict=True)
    for query, seen in islice(asked, WARM_UP):
        search(index, query, K, seen)
    taken = np.empty(queries)
    for number, (query, seen) in enumerate(islice(asked, queries)):
        started = time.perf_counter_ns()
        search(index, query, K, seen)
        taken[number] = time.perf_counter_ns() - started
    p50, p95, p99 = np.quantile(taken / 1e6, [0.5, 0.95, 0.99]).round(4).tolist()
    return Times(p50_ms=p50, p95_ms=p95, p99_ms=p99, queries=queries)


def measured(choice: Choice, version: str, queries: int = QUERIES, *, curves: bool = True) -> Measurements:
    """Time every candidate of `choice` by `queries` searches; `curves`: also with other efforts."""
    report, held = choice.report, choice.reporting
    timed, points = [], list[Point]()
    for each in choice.built if held is not None else ():
        assert held is not None
        found = times(each.index.with_effort(each.candidate.index.effort), held, queries)
        timed.append(Timed(candidate=each.candidate, build_seconds=round(each.seconds, 3), times=found))
        points += _curve(each.index, held) if curves else []
        each.index.with_effort(each.candidate.index.effort)
    return Measurements(
        version=version,
        items=report.items,
        dimension=report.dimension,
        target=report.target,
        users=report.users,
        seen=report.seen,
        reason=report.reason,
        candidates=timed,
        points=points,
    )


def _curve(index: VectorIndex, held: HeldOut) -> list[Point]:
    """Recall and time of the efforts around that of `index`, which is left with one of them."""
    kind, found = index.kind, []
    efforts = (
        {min(kind.most_effort, max(1, round(share * kind.effort))) for share in SHARES} if kind.most_effort else set()
    )
    for effort in sorted(efforts - {kind.effort}):
        other = index.with_effort(effort)
        recall = measure(other, held).recall
        if recall >= CURVED:
            p50 = times(other, held, POINT_QUERIES).p50_ms
            found.append(Point(kind=kind.name, effort=effort, recall=recall, p50_ms=p50))
    return found
