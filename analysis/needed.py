"""How much more traffic would decide what is inconclusive: by the noncentral t, at a true effect of zero, with limits.

Clusters grow with traffic, so degrees of freedom do too. The power of each guardrail is 1 − (1 − power)/guardrails, so
that all of them together pass with the plan's power. The variance behind it is itself an estimate: at 48 clusters the
number is within 15 % of the truth only every second time, hence the 90 % interval. Next module: `analysis.gate`.
"""

from __future__ import annotations

import math
from typing import Final

from scipy.optimize import brentq
from scipy.special import chdtri

from analysis.estimates import Estimate
from analysis.formulas_student import noncentral_above, t_critical
from analysis.plan import Plan
from analysis.verdict import Needed
from analysis.wording import shown

LEAST_FREEDOM: Final = 1.0
"""Degrees of freedom below which no forecast is made: so few clusters tell nothing of their variance."""
MOST: Final = 1e12
"""Times the traffic seen beyond which no number is told."""
CONFIDENCE: Final = (0.05, 0.95)


def pass_power(freedom: float, distance: float, alpha: float) -> float:
    """The probability that the one-sided limit at error `alpha` stays inside a margin `distance` standard errors away.

    At a true effect of zero, with the standard error estimated on `freedom` degrees of freedom.
    """
    return noncentral_above(freedom, distance, t_critical(freedom, alpha))


def needed(plan: Plan, harm: Estimate, margin: float, hours: float, alpha: float) -> Needed | None:
    """How many users and hours in all decide this guardrail; `margin` on the estimate's scale, `alpha` of a last look.

    Never less than what floors and the rule of three ask for. None where nothing can be told.
    """
    freedom = harm.spread.degrees_of_freedom
    if not harm.bounded or freedom < LEAST_FREEDOM:
        return None
    least = _least(plan, harm, margin, alpha)
    inflations = [1.0, *(math.sqrt(freedom / float(chdtri(freedom, share))) for share in CONFIDENCE)]
    times = [_times(plan, harm, margin, alpha, least, inflation) for inflation in inflations]
    if any(each is None for each in times):
        return None
    middle, low, high = (float(each) for each in times if each is not None)
    users = harm.spread.users
    return Needed(
        users=users * middle,
        users_low=users * low,
        users_high=users * high,
        hours=hours * middle,
        hours_low=hours * low,
        hours_high=hours * high,
    )


def _least(plan: Plan, harm: Estimate, margin: float, alpha: float) -> float:
    spread = harm.spread
    least = max(plan.floors.users / spread.effective_users, plan.floors.blocks / spread.effective_blocks)
    if harm.span and margin < harm.span:
        least = max(least, math.log(alpha) / math.log1p(-margin / harm.span) / spread.effective_users)
    return least


def _times(plan: Plan, harm: Estimate, margin: float, alpha: float, least: float, inflation: float) -> float | None:
    """How many times the traffic seen is needed when the true standard error is `inflation` times the estimated."""
    error = harm.standard_error * inflation
    if error == 0:
        return least
    power = 1 - (1 - plan.power) / plan.guardrails
    fixed = harm.spread.freedom

    def lacking(logarithm: float) -> float:
        times = math.exp(logarithm)
        freedom = fixed if fixed is not None else (harm.spread.degrees_of_freedom + 1) * times - 1
        return power - pass_power(max(freedom, LEAST_FREEDOM), margin * math.sqrt(times) / error, alpha)

    low = math.log(least)
    if lacking(low) <= 0:
        return least
    high = max(low, 0.0) + 1.0
    while lacking(high) > 0:
        low, high = high, high + 2.0
        if high > math.log(MOST):
            return None
    return math.exp(brentq(lacking, low, high, xtol=1e-9))


def in_words(found: Needed | None, harm: Estimate, hours: float) -> str:
    """How much more, as the end of a reason."""
    if found is None:
        return "; how much more is needed cannot be told"
    seen = harm.spread.users
    if found.users <= seen:
        return "; at no true effect this much traffic would usually decide: it is the estimate that stands in the way"
    users = _more(found.users, found.users_low, found.users_high, seen)
    more = _more(found.hours, found.hours_low, found.hours_high, hours)
    return f"; {users} users and {more} hours of this traffic would decide it, were there no true effect"


def _more(middle: float, low: float, high: float, seen: float) -> str:
    told = f"{shown(math.ceil(middle - seen), 'count')} more"
    limits = [shown(math.ceil(max(0.0, each - seen)), "count") for each in (low, high)]
    return told if limits[0] == limits[1] else f"{told} (90 % interval {limits[0]} to {limits[1]})"
