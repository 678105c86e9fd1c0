"""Which look at a growing log is due, and how strict it is. Pure.

A look is a time of the data, not of the clock: the plan lists hours after the first event, and what is judged is the
log up to the last of them that has passed. Who runs the gate every minute sees the same look again, so nothing is
gained by peeking; no memory of earlier runs is needed. The bounds spend α like O'Brien and Fleming (Lan and DeMets
1983), for non-inferiority and for harm apart: by time, while how looks hang together follows what was there at each,
for traffic is uneven and bounds by time alone would err in up to 6.6 % of logs. Next module: `analysis.gate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

from scipy.optimize import brentq
from scipy.special import ndtr

from analysis.looks import LAN_DEMETS_OBRIEN_FLEMING, bounds, spending

SMALLEST: Final = 1e-12
"""No adjusted p-value below this is told."""
LARGEST: Final = 0.49


@dataclass(frozen=True)
class Look:
    """One look: the `number`-th of `of`, at `hours` of data; `fractions` of the whole time, of it and those before.

    `information`: how much was there at each of these, in any unit; where it is not said, as much as the time.
    """

    number: int = 1
    of: int = 1
    hours: float | None = None
    fractions: tuple[float, ...] = (1.0,)
    information: tuple[float, ...] = ()

    def nominal(self, alpha: float) -> float:
        """The one-sided p-value to stay below at this look, so that all looks together err with `alpha`."""
        if self.fractions == (1.0,):
            return alpha
        return _nominal(self.fractions, self.information or self.fractions, alpha)

    def adjusted(self, p_value: float) -> float:
        """The smallest error of all looks together at which this look, with its p-value, would reject."""
        if self.fractions == (1.0,) or not 0 < p_value < 1:
            return p_value
        if p_value >= self.nominal(LARGEST):
            return 1.0
        if p_value <= self.nominal(SMALLEST):
            return SMALLEST
        return float(brentq(lambda each: self.nominal(each) - p_value, SMALLEST, LARGEST, xtol=1e-12, rtol=1e-8))


WHOLE: Final = Look()
"""The only look, at all there is."""


def due(plan_hours: tuple[float, ...], hours: float) -> Look | None:
    """The last planned look that has passed when the log spans `hours`; None before the first.

    A plan without looks has one, at whatever there is.
    """
    if not plan_hours:
        return WHOLE
    passed = [each for each in plan_hours if each <= hours]
    if not passed:
        return None
    fractions = tuple(each / plan_hours[-1] for each in passed)
    return Look(len(passed), len(plan_hours), passed[-1], fractions)


def last(plan_hours: tuple[float, ...]) -> Look:
    """The last planned look."""
    return due(plan_hours, math.inf) or WHOLE


@cache
def _nominal(fractions: tuple[float, ...], information: tuple[float, ...], alpha: float) -> float:
    spent = [spending(LAN_DEMETS_OBRIEN_FLEMING, each, alpha) for each in fractions]
    return float(ndtr(-bounds(information, spent)[-1]))
