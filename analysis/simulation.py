"""Does the gate keep its promises? Each is a rate over seeded logs, told with its number of runs, kept or missed.

Next module: `analysis.rates`, when one is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.batched import Batch, design, draws, log_ratios, means, quantile_differences
from analysis.batched_verdicts import ALPHA, HOLD, INCONCLUSIVE, PASS, Verdicts, planned_margin, verdicts
from analysis.formulas_student import t_critical
from analysis.rates import Rate, rate
from analysis.schedule import WHOLE, Look

CHUNK: Final = 100
"""Runs that share who asks when, so that a batch is a few matrices; the design is drawn anew for every batch."""
MOST_GUARDRAILS: Final = 10
LOOKS: Final = 5

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Size:
    """How many runs: `intervals` for type I and coverage, `gates` for verdicts; `sizes` are (users, blocks)."""

    intervals: int
    gates: int
    sizes: Sequence[tuple[int, int]]
    planned: tuple[int, int]


RARE: Final = (0.01, (600, 1600))
"""A rate of failures that is harm of the margin, and numbers of users."""

GROWTH: Final = 2.0
"""How traffic grows where it is uneven: by half of the time a quarter of the users have come."""

SMALL: Final = Size(600, 400, ((400, 48),), (400, 96))
FULL: Final = Size(2000, 2000, ((400, 48), (800, 60), (1600, 108)), (800, 96))


def steps(size: Size) -> int:
    """How many times `simulate` will tell that it is a step further."""
    return len(size.sizes) * _batches(size.intervals) + (2 * 2 + len(RARE[1]) + 1) * _batches(size.gates)


def simulate(size: Size, seed: int, tick: Callable[[], object] = lambda: None) -> list[Rate]:
    """All promises; `tick` is called `steps(size)` times."""
    rng = np.random.default_rng(seed)
    found = [each for users, blocks in size.sizes for each in _intervals(rng, users, blocks, size.intervals, tick)]
    for correlation in (0.0, 0.5):
        found += _gates(rng, size, correlation, tick)
    apart = np.random.default_rng([seed, 1])
    found += [_rare(apart, users, size.gates, tick) for users in RARE[1]]
    return [*found, _uneven(np.random.default_rng([seed, 2]), size, tick)]


def _batches(runs: int) -> int:
    return -(-runs // CHUNK)


def _intervals(
    rng: np.random.Generator, users: int, blocks: int, runs: int, tick: Callable[[], object]
) -> Iterator[Rate]:
    """Type I (one-sided) and coverage (two-sided) of each kind of estimate; the truth is zero."""
    upper: dict[str, list[Flags]] = {}
    both: dict[str, list[Flags]] = {}
    naive: dict[str, list[Flags]] = {}
    for _ in range(_batches(runs)):
        for name, batch in _kinds(rng, users, blocks).items():
            ratio = batch.values / batch.errors
            upper.setdefault(name, []).append(ratio > t_critical(batch.freedom, ALPHA))
            both.setdefault(name, []).append(np.abs(ratio) <= t_critical(batch.freedom, 0.025))
            naive.setdefault(name, []).append(np.abs(batch.values / batch.naive_errors) > stats.norm.isf(0.025))
        tick()
    for name in upper:
        setting, count = f"{name}, {users} users, {blocks} blocks", len(upper[name]) * CHUNK
        errors, covered = int(np.sum(upper[name])), int(np.sum(both[name]))
        beside = float(np.mean(naive[name]))
        yield rate("type I of a 5 % test", setting, errors, count, least=0.04, most=0.06, naive=beside)
        yield rate("coverage of a 95 % interval", setting, covered, count, least=0.935, most=0.965, naive=1 - beside)


def _kinds(rng: np.random.Generator, users: int, blocks: int) -> dict[str, Batch]:
    who = design(rng, users, blocks)
    values = draws(rng, who, CHUNK)
    shared = draws(rng, who, CHUNK)
    shadow, control = (np.exp(2 * shared + 2 * draws(rng, who, CHUNK)) for _ in range(2))
    return {
        "mean over users": means(who, values, by_user=True),
        "mean over requests": means(who, values, by_user=False),
        "log-ratio of latencies": log_ratios(who, shadow, control),
        "p95 difference": quantile_differences(who, shadow, control),
    }


def _gates(rng: np.random.Generator, size: Size, correlation: float, tick: Callable[[], object]) -> list[Rate]:
    """Verdicts at the planned size, at a quarter of it, and over all looks, for 1 to 10 guardrails."""
    users, blocks = size.planned
    looks = _looks()
    cuts = [round(blocks * (each + 1) / LOOKS) for each in range(LOOKS)]
    whole: list[list[Batch]] = []
    quarter: list[list[Batch]] = []
    for _ in range(_batches(size.gates)):
        whole += _guardrails(rng, users, blocks, correlation, cuts)
        tick()
        quarter += _guardrails(rng, users // 4, blocks // 4, correlation, [blocks // 4])
        tick()
    ends = whole[LOOKS - 1 :: LOOKS]
    found = []
    for guardrails in range(1, MOST_GUARDRAILS + 1):
        margin = planned_margin(ends, guardrails, WHOLE)
        by_look = planned_margin(ends, guardrails, looks[-1])
        any_pass = {effect: _ever(PASS, whole, guardrails, by_look, effect * by_look, looks) for effect in (0.0, 1.0)}
        outcomes = {
            effect: np.concatenate([verdicts(each[:guardrails], margin, effect * margin) for each in ends])
            for effect in (0.0, 1.0, 2.0)
        }
        small = np.concatenate([verdicts(each[:guardrails], margin, 0.0) for each in quarter])
        found += _told(guardrails, correlation, outcomes, small, any_pass)
    return found


def _looks() -> list[Look]:
    """Looks at equal times."""
    return [
        Look(each + 1, LOOKS, each + 1.0, tuple((early + 1) / LOOKS for early in range(each + 1)))
        for each in range(LOOKS)
    ]


def _ever(
    verdict: int,
    whole: Sequence[Sequence[Batch]],
    guardrails: int,
    margin: float,
    effect: float,
    looks: Sequence[Look],
) -> int:
    """How many runs have this verdict at some look; `whole` has the looks of one batch after another."""
    found = [
        np.concatenate(
            [verdicts(batches[:guardrails], margin, effect, look) for batches in whole[number :: len(looks)]]
        )
        for number, look in enumerate(looks)
    ]
    return int((np.stack(found) == verdict).any(axis=0).sum())


def _told(
    guardrails: int, correlation: float, outcomes: dict[float, Verdicts], small: Verdicts, any_pass: dict[float, int]
) -> list[Rate]:
    setting = f"{guardrails} guardrails, correlation {correlation:g}"
    runs = len(small)

    def count(verdict: int, found: Verdicts) -> int:
        return int((found == verdict).sum())

    told = [
        rate("harm of the margin: PASS", setting, count(PASS, outcomes[1.0]), runs, most=0.05, slack=0.005),
        rate(f"the same at any of {LOOKS} looks: PASS", setting, any_pass[1.0], runs, most=0.05, slack=0.005),
        rate(f"no harm, planned for {LOOKS} looks: PASS at one", setting, any_pass[0.0], runs, least=0.8),
        rate("harm of twice the margin: PASS", setting, count(PASS, outcomes[2.0]), runs, most=0.001),
        rate("no harm, planned size: PASS", setting, count(PASS, outcomes[0.0]), runs, least=0.8),
        rate("no harm, planned size: HOLD", setting, count(HOLD, outcomes[0.0]), runs, most=0.05, slack=0.005),
    ]
    least = 0.8 if guardrails >= 3 else 0.0
    name = "no harm, a quarter of the planned size: INCONCLUSIVE"
    return [*told, rate(name, setting, count(INCONCLUSIVE, small), runs, least=least)]


def _rare(rng: np.random.Generator, users: int, runs: int, tick: Callable[[], object]) -> Rate:
    """Events so rare that few are seen: a limit by the variance at the estimate would pass too many."""
    share, passed, naive = RARE[0], 0, 0
    for _ in range(_batches(runs)):
        who = design(rng, users, users // 16, most=8)
        seen = means(who, (rng.random((len(who.users), CHUNK)) < share).astype(np.float64), by_user=True)
        passed += int((verdicts([replace(seen, span=1.0, rate=True)], share) == PASS).sum())
        naive += int((verdicts([replace(seen, span=1.0)], share) == PASS).sum())
        tick()
    count = _batches(runs) * CHUNK
    setting = f"empty lists, {share:g} of answers, {users} users; beside: by the variance at the estimate"
    return rate("harm of the margin: PASS", setting, passed, count, most=0.05, slack=0.005, naive=naive / count)


def _uneven(rng: np.random.Generator, size: Size, tick: Callable[[], object]) -> Rate:
    """Traffic that grows: looks at equal times, the first of which see little; `naive` has bounds by time alone."""
    users, blocks = size.planned
    batches: list[list[Batch]] = []
    seen: list[list[Look]] = []
    for _ in range(_batches(size.gates)):
        who = design(rng, users, blocks, most=8, growth=GROWTH)
        values = draws(rng, who, CHUNK)
        cuts = [round(blocks * (each + 1) / LOOKS) for each in range(LOOKS)]
        parts = [(who.blocks < cut, who.until(cut)) for cut in cuts]
        batches.append([means(part, values[rows], by_user=True) for rows, part in parts])
        there = tuple(float(len(part.cell_clusters[0])) for _, part in parts)
        seen.append([replace(look, information=there[: look.number]) for look in _looks()])
        tick()
    margin = planned_margin([[each[-1]] for each in batches], 1, seen[0][-1])
    passed = []
    for looks in (seen, [_looks()] * len(seen)):
        found = [[verdicts([batch], margin, margin, look) == PASS for batch, look in zip(*both, strict=True)]
                 for both in zip(batches, looks, strict=True)]  # fmt: skip
        passed.append(sum(int(np.any(each, axis=0).sum()) for each in found))
    runs = len(seen) * CHUNK
    setting = "1 guardrail, traffic that grows; beside: bounds by time alone"
    naive = passed[1] / runs
    return rate(f"harm of the margin at any of {LOOKS} looks: PASS", setting, passed[0], runs, most=0.05, slack=0.005,
                naive=naive)  # fmt: skip


def _guardrails(
    rng: np.random.Generator, users: int, blocks: int, correlation: float, cuts: Sequence[int]
) -> list[list[Batch]]:
    """The estimates of 10 guardrails on one design, [cut][guardrail]; a cut ends the log before its block."""
    who = design(rng, users, blocks, most=8)
    parts = [(who.blocks < cut, who.until(cut)) for cut in cuts]
    shared = draws(rng, who, CHUNK) if correlation else None
    found: list[list[Batch]] = [[] for _ in cuts]
    for _ in range(MOST_GUARDRAILS):
        values = draws(rng, who, CHUNK)
        if shared is not None:
            values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * values
        for place, (rows, part) in zip(found, parts, strict=True):
            place.append(means(part, values[rows], by_user=True))
    return found
