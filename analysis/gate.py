"""The gate: a pure function from plan, evidence and health to a verdict. No I/O, no clock, no randomness.

Per guardrail there are four cells. Non-inferior (the harmful limit is inside the margin) and no harm shown: pass.
Non-inferior, harm shown: pass with note, for much data must not punish a tolerable harm. Not non-inferior, harm shown:
hold. Neither: inconclusive. Every guardrail must be non-inferior for PASS, each at the full α (intersection–union,
Berger 1982: no adjustment is needed); harm is tested with Holm's adjustment over the guardrails. A veto of the health
checks makes it INCONCLUSIVE, input that cannot be judged makes it ERROR. Next module: `analysis.evidence`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy import stats

from analysis.estimates import Estimate
from analysis.measures import LOWER, MEASURES, SHADOW_ON_PRIMARY
from analysis.plan import MetricPlan, Plan
from analysis.verdict import ERROR, HOLD, INCONCLUSIVE, PASS, VETO, Check, MetricResult, Needed
from analysis.wording import shown

MEANING: Final = {
    PASS: "Safe to expose to an A/B test.",
    HOLD: "Do not expose: harm is shown, and more than the margin is not excluded.",
    INCONCLUSIVE: "Not enough to decide: neither safety nor harm is shown.",
    ERROR: "The input cannot be judged.",
}
"""What a verdict means. PASS says nothing about better: a shadow log cannot."""

CELLS: Final = {
    (True, False): "pass",
    (True, True): "pass_with_note",
    (False, True): "hold",
    (False, False): "inconclusive",
}
"""(Non-inferior, harm shown) → decision."""

LEAST_FREEDOM: Final = 1.0
"""Degrees of freedom below which no forecast is made."""

DECISIONS: Final = ("hold", "inconclusive", "pass_with_note", "pass", "descriptive")
"""By weight: the heaviest decision of the guardrails makes the verdict, and reasons come in this order."""


@dataclass(frozen=True)
class Evidence:
    """What is known of one metric: its estimate or why there is none, and its noise floor if it has one."""

    metric: MetricPlan
    estimate: Estimate | None
    why_none: str = ""
    noise_floor: float | None = None


@dataclass(frozen=True)
class Judgement:
    """A verdict with its reasons, most weighty first, and the result of every metric in the plan's order."""

    verdict: str
    reasons: tuple[str, ...]
    metrics: tuple[MetricResult, ...]


def judge(
    plan: Plan, found: Sequence[Evidence], checks: Sequence[Check], hours: float, unusable: Sequence[str] = ()
) -> Judgement:
    """The verdict on `found` (one per metric of the plan, any order), seen in `hours` of traffic.

    `unusable` lists why the input cannot be judged at all; a metric of the plan without evidence is such a reason.
    """
    known = {each.metric.name: each for each in found}
    lacking = [f"{metric.name}: no evidence" for metric in plan.metrics if metric.name not in known]
    broken = unusable or lacking
    if broken:
        return Judgement(ERROR, tuple(broken), ())
    ordered = [known[metric.name] for metric in plan.metrics]
    adjusted = _holm({each.metric.name: _p_harm(each) for each in ordered if each.metric.role == "guardrail"})
    metrics = tuple(_metric(plan, each, adjusted.get(each.metric.name), hours) for each in ordered)
    vetoes = [f"health: {check.name}: {check.found} (expected: {check.expected})" for check in checks if _vetoes(check)]
    weighty = [metric for metric in metrics if metric.role == "guardrail"]
    weighty.sort(key=lambda metric: DECISIONS.index(metric.decision))
    reasons = (*vetoes, *(f"{metric.name}: {metric.reason}" for metric in weighty))
    return Judgement(INCONCLUSIVE if vetoes else _verdict(weighty[0].decision), reasons, metrics)


def _vetoes(check: Check) -> bool:
    return check.state == VETO


def _verdict(heaviest: str) -> str:
    return {"hold": HOLD, "inconclusive": INCONCLUSIVE}.get(heaviest, PASS)


def _harmful(each: Evidence) -> Estimate | None:
    """The estimate with harm upwards."""
    if each.estimate is None:
        return None
    return each.estimate.mirrored() if MEASURES[each.metric.name].harm == LOWER else each.estimate


def _p_harm(each: Evidence) -> float:
    harm = _harmful(each)
    return 1.0 if harm is None else harm.p_above_zero()


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values (1979)."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda each: (p_values[each], each))):
        largest = max(largest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = largest
    return adjusted


def _metric(plan: Plan, each: Evidence, p_holm: float | None, hours: float) -> MetricResult:
    metric, measure, harm = each.metric, MEASURES[each.metric.name], _harmful(each)
    decision, reason, needed = "descriptive", "described only, decides nothing", None
    if p_holm is not None:
        decision, reason = _decide(plan, each, harm, p_holm)
    if decision == "inconclusive" and harm is not None:
        needed = _needed(plan, harm, _scaled(metric.margin, harm), hours)
        reason += _in_words(needed, harm)
    base = MetricResult(
        name=metric.name,
        role=metric.role,
        comparison=metric.comparison,
        average=measure.average,
        harm=measure.harm,
        unit=metric.unit,
        decision=decision,
        reason=reason,
        margin=metric.margin,
        margin_reason=" ".join(metric.reason.split()),
        noise_floor=each.noise_floor,
        needed=needed,
    )
    return base if each.estimate is None or harm is None else _with_numbers(base, plan, each.estimate, harm, p_holm)


def _with_numbers(
    base: MetricResult, plan: Plan, estimate: Estimate, harm: Estimate, p_holm: float | None
) -> MetricResult:
    """`base` with everything that rests on an estimate, turned back from the harm's direction to the metric's own."""
    harm_lower, harm_upper = _unscaled(harm.lower(plan.alpha), harm), _unscaled(harm.upper(plan.alpha), harm)
    lower, upper = harm_lower, harm_upper
    if base.harm == LOWER:
        lower, upper = _negative(harm_upper), _negative(harm_lower)
    if base.comparison == SHADOW_ON_PRIMARY:
        lower, upper = _share(lower), _share(upper)
    spread = estimate.spread
    fields = {name: getattr(base, name) for name in base.__struct_fields__}
    fields |= {
        "estimate": _unscaled(estimate.value, estimate),
        "lower": lower,
        "upper": upper,
        "relation": "≥" if estimate.at_least else "=",
        "to_margin": base.margin - harm_upper if base.margin is not None and harm_upper is not None else None,
        "p_harm": harm.p_above_zero() if p_holm is not None else None,
        "p_harm_holm": p_holm,
        "standard_error": estimate.standard_error,
        "degrees_of_freedom": spread.degrees_of_freedom,
        "requests": estimate.requests,
        "users": spread.users,
        "blocks": spread.blocks,
        "effective_users": spread.effective_users,
        "effective_blocks": spread.effective_blocks,
        "notes": spread.notes,
    }
    return MetricResult(**fields)


def _decide(plan: Plan, each: Evidence, harm: Estimate | None, p_holm: float) -> tuple[str, str]:
    """The cell of one guardrail, and why in words."""
    if harm is None:
        return "inconclusive", each.why_none
    few = _below_floors(plan, harm)
    if few:
        return "inconclusive", few
    if not harm.bounded:
        return "inconclusive", harm.spread.notes[0] if harm.spread.notes else "no interval can be given"
    unit = each.metric.unit
    upper = harm.upper(plan.alpha)
    margin = shown(each.metric.margin, unit, sign=False)
    safe = upper is not None and upper < _scaled(each.metric.margin, harm)
    harmed = p_holm <= plan.alpha
    excluded = (
        f"harm beyond the margin of {margin} is {'excluded' if safe else 'not excluded'} ({_limit(upper, harm, unit)})"
    )
    evidence = f"harm is {'shown' if harmed else 'not shown'} (Holm p {shown(p_holm, 'p')})"
    value = -harm.value if MEASURES[each.metric.name].harm == LOWER else harm.value
    found = f"{'≥ ' if harm.at_least else ''}{shown(_unscaled(value, harm), unit)}"
    return CELLS[safe, harmed], f"{found}, {excluded}; {evidence}"


def _limit(upper: float | None, harm: Estimate, unit: str) -> str:
    """The upper limit of the harm in words; a negative harm is a gain."""
    most = _unscaled(upper, harm)
    if most is None:
        return "it has no upper limit"
    if most >= 0:
        return f"at most {shown(most, unit, sign=False)}"
    return f"better by {shown(-most, unit, sign=False)} or more"


def _below_floors(plan: Plan, harm: Estimate) -> str:
    spread, floors = harm.spread, plan.floors
    if spread.effective_users < floors.users:
        return f"{shown(spread.effective_users, 'plain')} effective users, the plan's floor is {floors.users:g}"
    if spread.effective_blocks < floors.blocks:
        return f"{shown(spread.effective_blocks, 'plain')} effective time blocks, the plan's floor is {floors.blocks:g}"
    return ""


def _needed(plan: Plan, harm: Estimate, margin: float, hours: float) -> Needed | None:
    """How much traffic in total decides this guardrail at zero true effect, with the plan's power over all guardrails.

    From n·(t_α + t_β)²·se²/margin² with β = (1 − power)/guardrails; 90 % limits from χ² of the variance. At least what
    the floors and the rule of three ask for. None when so few clusters were seen that their variance tells nothing.
    """
    spread = harm.spread
    freedom = spread.degrees_of_freedom
    if not harm.bounded or freedom < LEAST_FREEDOM:
        return None
    reach = float(stats.t.isf(plan.alpha, freedom) + stats.t.isf((1 - plan.power) / plan.guardrails, freedom))
    factor = (reach * harm.standard_error / margin) ** 2
    least = max(plan.floors.users / spread.effective_users, plan.floors.blocks / spread.effective_blocks)
    if harm.span and margin < harm.span:
        least = max(least, math.log(plan.alpha) / math.log1p(-margin / harm.span) / spread.effective_users)
    low, high = (factor * freedom / float(stats.chi2.ppf(level, freedom)) for level in (0.95, 0.05))
    times = [max(least, each) for each in (factor, low, high)]
    users, users_low, users_high = (spread.users * each for each in times)
    return Needed(users=users, users_low=users_low, users_high=users_high, hours=hours * times[0])


def _in_words(needed: Needed | None, harm: Estimate) -> str:
    if needed is None:
        return ""
    if needed.users <= harm.spread.users:
        return "; at no true effect this much traffic would usually decide: it is the estimate that stands in the way"
    users = f"{shown(needed.users, 'count')} users in all"
    if needed.users_high > needed.users_low:
        users += f" (90 % interval {shown(needed.users_low, 'count')} to {shown(needed.users_high, 'count')})"
    return f"; about {users}, {shown(needed.hours, 'count')} hours at this rate, would decide it"


def _scaled(margin: float | None, harm: Estimate) -> float:
    """The margin on the scale of the estimate. A guardrail always has one (`analysis.plan`)."""
    if margin is None:
        raise ValueError("a guardrail without a margin cannot be judged")
    return math.log1p(margin) if harm.log else margin


def _unscaled(value: float | None, estimate: Estimate) -> float | None:
    """A number of the estimate's scale in the metric's unit."""
    return math.expm1(value) if estimate.log and value is not None else value


def _share(limit: float | None) -> float | None:
    """A level, not a difference: it cannot leave [0, 1]."""
    return None if limit is None else min(max(limit, 0.0), 1.0)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
