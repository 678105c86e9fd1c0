"""How much of a known fault the gate detects with how many users: seeded mutants of the shadow, judged by one plan.

A mutant harms the lists or the latency of a shadow that is else the champion itself. Detected is HOLD; a shadow that is
merely not passed is told apart. Next module: `analysis.dose_plot`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np

from analysis.aggregates import Floats
from analysis.batched import Batch, Design, design, means, quantile_differences
from analysis.batched_verdicts import HOLD, PASS, verdicts

SLOTS: Final = 10
TASTE: Final = (0.6, 6.0)
"""A user's share of the long tail is Beta with these parameters: most see little of it, some a lot; mean .09."""
MEDIAN_MS, USER_PACE, BLOCK_PACE, CALL_PACE = 5.0, 0.2, 0.15, 0.5
"""Latencies are log-normal: of a user, of a time block, of one call (shadow and control share the first two)."""
MARGINS: Final = (0.008, 0.01, 0.01, 1.0)
"""Long-tail share, empty lists, errors, p95 in ms: the demo's, but for a latency that is told from noise at 1 ms."""
CHUNK: Final = 50
REQUESTS_A_BLOCK: Final = 10
"""Users per block until there are `MOST_BLOCKS` blocks, as traffic fills a month of six-hour blocks."""
MOST_BLOCKS: Final = 108


@dataclass(frozen=True)
class Mutant:
    """A fault: shares of slots, requests or users that it touches."""

    name: str
    popular: float = 0.0
    empty: float = 0.0
    stale: float = 0.0
    swapped: bool = False
    slower_ms: float = 0.0


MUTANTS: Final = (
    Mutant("no fault"),
    Mutant("5 % of slots popular", popular=0.05),
    Mutant("10 % of slots popular", popular=0.10),
    Mutant("20 % of slots popular", popular=0.20),
    Mutant("30 % of slots popular", popular=0.30),
    Mutant("1 % empty lists", empty=0.01),
    Mutant("3 % empty lists", empty=0.03),
    Mutant("stale vectors", stale=0.25),
    Mutant("swapped ids", swapped=True),
    Mutant("2 ms slower", slower_ms=2.0),
)
"""Stale vectors: a quarter of the users joined after they were fitted and get the popular list. Swapped ids: everybody
gets the list of somebody else, which no guardrail sees: shares do not change, only whose they are."""


@dataclass(frozen=True)
class Doses:
    """How much is run: numbers of users, and runs of each mutant at each."""

    users: Sequence[int]
    runs: int


SMALL: Final = Doses((400, 1600), 50)
FULL: Final = Doses((200, 400, 800, 1600, 3200), 150)


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    """How often a mutant was held, and passed, among the runs with so many users."""

    mutant: str
    users: int
    runs: int
    held: float
    passed: float


def total(doses: Doses) -> int:
    """How many times `detections` will tell that it is a step further."""
    return len(doses.users) * len(MUTANTS) * -(-doses.runs // CHUNK)


def detections(doses: Doses, seed: int, tick: Callable[[], object] = lambda: None) -> list[Detection]:
    """Every mutant at every number of users; `tick` is called `total(doses)` times."""
    rng, found = np.random.default_rng(seed), []
    for users in doses.users:
        for mutant in MUTANTS:
            told = []
            for _ in range(-(-doses.runs // CHUNK)):
                told.append(verdicts(judged(rng, mutant, users), MARGINS))
                tick()
            all_told = np.concatenate(told)
            held, passed = (float((all_told == each).mean()) for each in (HOLD, PASS))
            found.append(Detection(mutant=mutant.name, users=users, runs=len(all_told), held=held, passed=passed))
    return found


def judged(rng: np.random.Generator, mutant: Mutant, users: int) -> list[Batch]:
    """The four guardrails of `CHUNK` logs, harm upwards."""
    who = design(rng, users, min(MOST_BLOCKS, max(24, users // REQUESTS_A_BLOCK)), most=8)
    before, after, empty = _lists(rng, mutant, who)
    shadow, control = _latencies(rng, mutant, who)
    lists = [means(who, values, by_user=True) for values in ((before - after) / SLOTS, empty)]
    errors = means(who, np.zeros_like(empty), by_user=False)
    bounded = [replace(each, span=1.0, rate=each is not lists[0]) for each in (*lists, errors)]
    return [*bounded, quantile_differences(who, shadow, control)]


def _lists(rng: np.random.Generator, mutant: Mutant, who: Design) -> tuple[Floats, Floats, Floats]:
    """Tail items of the primary's and the shadow's list, and whether the shadow's is empty; (requests, runs)."""
    people = int(who.users.max()) + 1
    taste = rng.beta(*TASTE, (people, CHUNK))
    before = rng.binomial(SLOTS, taste)[who.users]
    after = before
    if mutant.swapped:
        after = np.roll(before, 1 + rng.integers(len(before) - 1), axis=0)
    if mutant.stale:
        after = np.where((rng.random((people, CHUNK)) < mutant.stale)[who.users], 0, after)
    after = rng.binomial(after, 1 - mutant.popular)
    empty = rng.random(after.shape) < mutant.empty
    return before.astype(float), np.where(empty, 0.0, after), empty.astype(float)


def _latencies(rng: np.random.Generator, mutant: Mutant, who: Design) -> tuple[Floats, Floats]:
    """Milliseconds of shadow and control on the same requests; (requests, runs)."""
    people, blocks = int(who.users.max()) + 1, int(who.blocks.max()) + 1
    shared = rng.normal(0, USER_PACE, (people, CHUNK))[who.users]
    shared += rng.normal(0, BLOCK_PACE, (blocks, CHUNK))[who.blocks]
    took = [MEDIAN_MS * np.exp(shared + rng.normal(0, CALL_PACE, shared.shape)) for _ in range(2)]
    return took[0] + mutant.slower_ms, took[1]
