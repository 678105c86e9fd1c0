"""Choosing an index by measuring: every candidate is built, its effort set by bisection, and the cheapest kept.

The rule. Held-out users are a seeded sample of the bundle's users, in two halves. On the first half the effort of each
candidate (nprobe, ef) is the least at which the lower bound of mean recall@10, one-sided at 95 %, reaches the target,
so that no candidate at the edge wins by luck. Of those that get there, the one with the fewest distance computations is
kept (those of a graph weigh eight: each vector lies somewhere else), if the second half, which chose nothing, finds the
target reached too, and if it saves at least 10,000 computations against comparing all; else the next; in the end Flat,
which is exact. What is reported is the second half's. Next module: `bentos.index_timing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos.index import METRIC, Kind, VectorIndex, build
from bentos.index_kinds import SQ8, Flat, HnswIp
from bentos.index_lists import IvfIp, IvfL2, IvfRanged
from bentos.index_measure import HeldOut, K, measure
from bentos.index_report import CHOSEN, Candidate, Figures, IndexReport, unmeasured
from bentos.seen import STAND_IN, SeenSource, stand_in

TARGET: Final = 0.995
SEED: Final = 1
HALF: Final = 500
"""Users in each half, at most."""
LEAST_HALF: Final = 50
"""With fewer, nothing is measured."""
LEAST_ITEMS: Final = 1_000
"""With fewer, nothing is measured."""
LEAST_SAVING: Final = 10_000
"""Distance computations that an index must save per search: some 0.1 ms, below which structure is decoration."""
MOST_FOR_GRAPH: Final = 50_000
"""Items up to which a graph is tried without being asked for: one thread inserts 2,000 to 12,000 a second."""
PLAIN_NPROBE: Final = 20
STEP: Final = 16
"""Bisection ends when the effort is known to one part in so many."""
NAMES: Final = ("Flat", "SQ8", "IVF-ranged", "IVF-L2", "IVF-IP", "HNSW-IP")

Told = Callable[[str], object]


@dataclass(frozen=True)
class Built:
    """A candidate with its index, and the seconds that building it took."""

    candidate: Candidate
    index: VectorIndex
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The index that was kept, its report, and, unless nothing was measured, all candidates and the reporting half."""

    index: VectorIndex
    report: IndexReport
    built: tuple[Built, ...] = ()
    reporting: HeldOut | None = None


def candidates(items: int, names: Sequence[str] | None = None) -> list[Kind]:
    """What is tried for so many items: all that `names` has, by default all that are built in reasonable time."""
    lists = max(1, round(items**0.5))
    bands = max(2, round(np.log2(max(2, items))) - 9)
    every: list[Kind] = [
        Flat(),
        SQ8(),
        IvfRanged(nlist=4 * lists, bands=bands),
        IvfL2(nlist=2 * lists),
        IvfIp(nlist=lists, nprobe=PLAIN_NPROBE),
        HnswIp(),
    ]
    if unknown := sorted(set(names or ()) - set(NAMES)):
        raise ValueError(f"no kind of index {unknown[0]!r}; there are {', '.join(NAMES)}")
    if names is None:
        return [kind for kind in every if not isinstance(kind, HnswIp) or items <= MOST_FOR_GRAPH]
    return [kind for kind in every if kind.name in names or isinstance(kind, Flat)]


def choose(
    vectors: NDArray[np.float32],
    users: NDArray[np.float32],
    seen: SeenSource | None = None,
    *,
    target: float = TARGET,
    names: Sequence[str] | None = None,
    told: Told = lambda _: None,
) -> Choice:
    """The index for `vectors` (items, d) by measuring with `users` (users, d), both float32; see the module.

    `seen`: what users have seen; None: a stand-in. `names`: which kinds to try. `told` hears what goes on.
    """
    if not 0 < target <= 1:
        raise ValueError(f"target must be above 0 and at most 1, not {target:g}")
    flat = build(vectors)
    half = min(HALF, len(users) // 2)
    kinds = candidates(len(flat), names)
    if reason := _too_small(len(flat), half):
        return Choice(flat, unmeasured(flat, faiss.__version__, reason))
    told("held-out users")
    choosing, reporting = _halves(flat, users, seen, half)
    built = tuple(_built(kind, flat, choosing, reporting, target, told) for kind in kinds)
    kept = _kept(built, target)
    named = tuple(_with_outcome(each, kept, target) for each in built)
    report = IndexReport(
        index=kept.index.kind,
        items=len(flat),
        dimension=vectors.shape[1],
        metric=METRIC,
        largest_norm=flat.largest_norm,
        faiss=faiss.__version__,
        target=target,
        k=K,
        users=half,
        seen=seen.told if seen else STAND_IN,
        reason=_reason(kept),
        candidates=tuple(each.candidate for each in named),
    )
    return Choice(kept.index, report, named, reporting)


def _too_small(items: int, half: int) -> str:
    if items < LEAST_ITEMS:
        return f"exact: fewer than {LEAST_ITEMS:,} items"
    return f"exact: fewer than {2 * LEAST_HALF} users to measure with" if half < LEAST_HALF else ""


def _halves(
    flat: VectorIndex, users: NDArray[np.float32], seen: SeenSource | None, half: int
) -> tuple[HeldOut, HeldOut]:
    rows = np.random.default_rng(SEED).choice(len(users), 2 * half, replace=False)
    found = []
    for part in (np.sort(rows[:half]), np.sort(rows[half:])):
        queries = np.ascontiguousarray(users[part])
        known = seen.of(part) if seen else stand_in(flat, queries, SEED)
        found.append(HeldOut.of(flat, queries, known))
    return found[0], found[1]


def _built(kind: Kind, flat: VectorIndex, choosing: HeldOut, reporting: HeldOut, target: float, told: Told) -> Built:
    told(f"{kind.name}: building")
    started = time.perf_counter()
    index = flat if isinstance(kind, Flat) else build(flat.vectors, kind)
    seconds = time.perf_counter() - started
    told(f"{kind.name}: measuring")
    # The plain choice is what people take without measuring.
    tuned, figures = (index, measure(index, choosing)) if isinstance(kind, IvfIp) else _tuned(index, choosing, target)
    candidate = Candidate(
        index=tuned.kind, bytes=tuned.size, choosing=figures, reporting=measure(tuned, reporting), outcome=""
    )
    return Built(candidate, tuned, seconds)


def _tuned(index: VectorIndex, held: HeldOut, target: float) -> tuple[VectorIndex, Figures]:
    """The index with the least effort that reaches the target, or with the most when none does."""
    low, high = 0, index.kind.most_effort
    best = measure(index.with_effort(high), held)
    if best.lower < target:
        return index.with_effort(high), best
    while high - low > 1 + low // STEP:
        middle = (low + high) // 2
        found = measure(index.with_effort(middle), held)
        if found.lower >= target:
            high, best = middle, found
        else:
            low = middle
    return index.with_effort(high), best


def _kept(built: Sequence[Built], target: float) -> Built:
    flat = next(each for each in built if each.index.exact)
    most = flat.candidate.cost - LEAST_SAVING
    able = [each for each in built if not _missed(each, target) and each.candidate.cost <= most]
    return min(able, key=lambda each: each.candidate.cost, default=flat)


def _missed(built: Built, target: float) -> str:
    if built.candidate.choosing.lower < target:
        return "misses the target"
    return "misses the target by the half that did not choose" if built.candidate.reporting.recall < target else ""


def _with_outcome(built: Built, kept: Built, target: float) -> Built:
    outcome = CHOSEN if built is kept else _missed(built, target)
    if not outcome:
        dearer = built.candidate.cost >= kept.candidate.cost
        outcome = "reaches it, but not with fewer computations" if dearer else "saves too little against Flat"
    return Built(msgspec.structs.replace(built.candidate, outcome=outcome), built.index, built.seconds)


def _reason(kept: Built) -> str:
    if not kept.index.exact:
        return "the fewest distance computations of those that reach the target"
    return f"exact: nothing that reaches the target saves {LEAST_SAVING:,} distance computations"
