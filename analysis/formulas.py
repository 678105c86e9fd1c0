"""What a power calculation is made of: a design with a named convention, its power, and both inversions of it.

A design knows one thing, the power of its test for a number of observations and an effect; sample size and smallest
detectable effect are found from it, so the three can never disagree. Conventions differ between tools: each answer
carries the `Formula` it came from. Pure. Next modules: `analysis.formulas_means` and its neighbours, one per kind of
question.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

MOST: Final = 1e18
"""More observations than this are never asked for: the question is then called impossible."""
MOST_WHOLE: Final = 20_000
"""Exact tests are enumerated; beyond this the normal conventions agree with them to a fraction of a per cent."""


class QuestionError(ValueError):
    """A question that has no answer; the text is one line with the reason."""


@dataclass(frozen=True)
class Formula:
    """Where a number comes from. `counts` says what n is, `effect` what the effect is, both as printed."""

    design: str
    convention: str
    name: str
    text: str
    sources: tuple[str, str]
    counts: str
    effect: str


def formulas(design: str, counts: str, effect: str, *rows: tuple[str, str, str, str, str]) -> Mapping[str, Formula]:
    """The formulas of a design by convention, from rows of convention, name, text and two sources."""
    return {
        convention: Formula(design, convention, name, text, (first, second), counts, effect)
        for convention, name, text, first, second in rows
    }


@dataclass(frozen=True, kw_only=True)
class Design(ABC):
    """One question about one test. `alpha` is the error of the whole test, on `sides` sides."""

    convention: str
    alpha: float = 0.05
    sides: int = 2

    FORMULAS: ClassVar[Mapping[str, Formula]]
    LEAST: ClassVar[float] = 2.0
    """The smallest n for which the test exists."""

    def __post_init__(self) -> None:
        known = ", ".join(self.FORMULAS)
        check(
            self.convention in self.FORMULAS, f"{self.convention!r} is no convention of this design; they are {known}"
        )
        check(
            0 < self.alpha < 0.5 * self.sides, f"alpha must lie between 0 and {0.5 * self.sides:g}, not {self.alpha:g}"
        )
        check(self.sides in (1, 2), f"a test has one side or two, not {self.sides}")

    @property
    def formula(self) -> Formula:
        """The formula of the convention that was chosen."""
        return self.FORMULAS[self.convention]

    @property
    def critical(self) -> float:
        """The normal quantile that the test statistic must pass on a side."""
        return -float(ndtri(self.alpha / self.sides))

    @property
    def whole(self) -> bool:
        """Whether n must be a whole number: an exact test, whose power does not rise steadily with n."""
        return False

    @property
    def least(self) -> float:
        """The smallest n that may be asked about."""
        return self.LEAST

    @abstractmethod
    def power(self, n: float, effect: float) -> float:
        """The probability that the test succeeds, in [0, 1]; never NaN."""

    def reach(self) -> float:
        """The largest size of an effect that makes sense; the sign comes from `direction`."""
        return math.inf

    @property
    def direction(self) -> int:
        """The sign of the effects that are looked for."""
        return 1


def check(holds: bool, reason: str) -> None:
    """Refuse a question with its reason; comparisons with NaN do not hold."""
    if not holds:
        raise QuestionError(reason)


def positive(**values: float | None) -> None:
    """Refuse what is not a positive finite number, by its name."""
    for name, value in values.items():
        check(value is None or 0 < value < math.inf, f"{name.replace('_', ' ')} must be a positive number, not {value}")


def between(low: float, high: float, **values: float) -> None:
    """Refuse what is not strictly between two limits, by its name."""
    for name, value in values.items():
        check(low < value < high, f"{name.replace('_', ' ')} must lie between {low:g} and {high:g}, not {value:g}")


def near_tail(drift: float, critical: float) -> float:
    """P(Z > critical − drift): the power towards the effect alone."""
    return float(ndtr(drift - critical))


def both_tails(drift: float, critical: float, sides: int) -> float:
    """The power of a normal test; with two sides a success in the wrong direction counts, too (pwr, statsmodels)."""
    far = float(ndtr(-drift - critical)) if sides == 2 else 0.0
    return min(1.0, near_tail(drift, critical) + far)


def sample_size(design: Design, effect: float, power: float) -> float:
    """The n at which `power` is reached: the smallest whole one for exact tests, else a real number.

    Raises `QuestionError` when no n reaches it.
    """
    _check_power(power)
    check(math.isfinite(effect), f"the effect must be a number, not {effect}")
    if design.whole:
        return _whole(design, effect, power)
    low = design.least
    if design.power(low, effect) >= power:
        return low
    high = 2 * low
    while design.power(high, effect) < power:
        low, high = high, 2 * high
        check(high < MOST, f"no number of observations reaches a power of {power:g} for an effect of {effect:g}")
    return math.exp(_root(lambda at: design.power(math.exp(at), effect) - power, math.log(low), math.log(high)))


def detectable_effect(design: Design, n: float, power: float) -> float:
    """The smallest effect that is found with `power` at `n`, with the sign of the design's direction.

    Raises `QuestionError` when no effect in the design's reach is.
    """
    _check_power(power)
    check(design.least <= n <= MOST, f"n must be at least {design.least:g}, not {n:g}")
    reach, sign = design.reach(), design.direction
    most = min(reach, 1e12)
    check(design.power(n, sign * most) >= power, f"no effect reaches a power of {power:g} with n = {n:g}")
    high = min(most, 1e-12)
    low = 0.0
    while design.power(n, sign * high) < power:
        low, high = high, min(most, 2 * high)
    if low == 0.0:
        return sign * high
    return sign * math.exp(_root(lambda at: _at(design, n, sign, at, most) - power, math.log(low), math.log(high)))


def _at(design: Design, n: float, sign: int, logarithm: float, most: float) -> float:
    return design.power(n, sign * min(most, math.exp(logarithm)))


def _check_power(power: float) -> None:
    check(0 < power < 1, f"power must lie between 0 and 1, not {power:g}")


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    if excess(low) >= 0:
        return low
    if excess(high) <= 0:
        return high
    return float(brentq(excess, low, high, xtol=1e-14, rtol=8.9e-16, maxiter=200))


def _whole(design: Design, effect: float, power: float) -> float:
    """The smallest whole n that reaches the power; later ones may fall below it again, as exact tests do."""
    low, high = int(design.least), int(design.least)
    while design.power(high, effect) < power:
        low, high = high, 2 * high
        check(
            high <= MOST_WHOLE, f"more than {MOST_WHOLE} observations: use a normal convention instead of an exact one"
        )
    # Powers saw up and down: everything that could come before is tried, from half of a first hit on.
    start = max(int(design.least), low // 2)
    return float(next(n for n in range(start, high + 1) if design.power(n, effect) >= power))
