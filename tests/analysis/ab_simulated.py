"""Does an A/B test hold what it promises? Skewed users, a known effect, 2,000 seeded experiments of each estimator.

python -m tests.analysis.ab_simulated       # the table of docs/ab.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from analysis.ab import Part, compare, cuped, of_ratio, part, stratified
from analysis.ab_data import Rows
from analysis.ab_judging import PASSES, Metric, Settings, judge

RUNS: Final = 2_000
USERS: Final = 300
"""Of each arm."""
LIFT: Final = 0.15
KINDS: Final = ("mean", "ratio", "cuped", "cuped by two", "strata")
MEAN: Final = 2.6
"""Of the control: 2 × 0.5 + 0.8 × 2."""


@dataclass(frozen=True)
class Held:
    """How often the interval held the effect, absolute and relative, and how often the test said that there is one."""

    absolute: float
    relative: float
    won: float


def simulated(kind: str, lift: float, seed: int, runs: int = RUNS) -> Held:
    """So many experiments by one estimator, at the two-sided 5 %."""
    rng = np.random.default_rng(seed)
    held, held_relative, won = np.zeros((3, runs), dtype=bool)
    true = 0.2 * lift if kind == "ratio" else MEAN * lift
    for run in range(runs):
        control, treatment = experiment(kind, lift, rng)
        found = compare(control, treatment, 0.05)
        held[run] = found.low <= true <= found.high
        assert found.relative_low is not None
        assert found.relative_high is not None
        held_relative[run] = found.relative_low <= lift <= found.relative_high
        won[run] = found.p <= 0.05
    return Held(float(held.mean()), float(held_relative.mean()), float(won.mean()))


def passed_at_the_margin(harm: Literal["lower", "higher"], margin: float, seed: int, runs: int = RUNS) -> float:
    """How often a guardrail passes at a one-sided 5 % where the treatment is worse by just its relative margin."""
    rng = np.random.default_rng(seed)
    guard = Metric(name="cost", numerator="cost", margin=margin, relative=True, harm=harm)
    settings = Settings(success=(guard,), guardrails=(guard,))
    worse = 1 + margin if harm == "higher" else 1 - margin
    arms = np.repeat(np.arange(2), USERS)
    passed = 0
    for _ in range(runs):
        costs = rng.gamma(4.0, 1.0, 2 * USERS) * np.where(arms == 1, worse, 1.0)
        rows = Rows(np.arange(2 * USERS), arms, ("control", "treatment"), {"cost": costs}, {}, 0)
        passed += judge(rows, settings).lines[-1].decision == PASSES
    return passed / runs


def experiment(kind: str, lift: float, rng: np.random.Generator) -> tuple[Part, Part]:
    """Both arms of one experiment: gamma-distributed users whose past explains some of what they do."""
    before = rng.gamma(2.0, 1.0, (2, USERS))
    during = rng.gamma(2.0, 0.5, (2, USERS)) + 0.8 * before
    during[1] += lift * MEAN
    if kind == "ratio":
        requests = rng.poisson(5, (2, USERS)) + 1.0
        rates = rng.gamma(4.0, 0.05, (2, USERS)) * np.array([[1.0], [1 + lift]])
        clicks = rng.poisson(requests * rates).astype(float)
        return part(of_ratio(clicks[0], requests[0])), part(of_ratio(clicks[1], requests[1]))
    if kind.startswith("cuped"):
        columns = [before[:, :, None]]
        if kind != "cuped":
            columns.append(before[:, :, None] ** 0.5 + rng.normal(0, 1, (2, USERS, 1)))
        past = np.concatenate(columns, axis=2)
        first, second, _ = cuped(during[0], during[1], past[0], past[1])
        return part(first), part(second)
    if kind == "strata":
        strata = np.digitize(before, (1.0, 2.0)).astype(np.intp)
        weights = np.bincount(strata.ravel(), minlength=3) / strata.size
        return stratified(during[0], strata[0], weights), stratified(during[1], strata[1], weights)
    return part(during[0]), part(during[1])


def table() -> list[str]:
    """The rows of docs/ab.md; a test compares them."""
    rows = ["| estimator | absolute interval holds | relative interval holds | nulls won |", "|---|---|---|---|"]
    for number, kind in enumerate(KINDS):
        known, null = simulated(kind, LIFT, 21 + number), simulated(kind, 0.0, 121 + number)
        shares = (known.absolute, known.relative, null.won)
        rows.append(f"| {kind} | {' | '.join(f'{100 * share:.2f} %' for share in shares)} |")
    return rows


if __name__ == "__main__":
    print("\n".join(table()))
