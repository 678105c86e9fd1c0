"""The gate: a pure function from plan, evidence and health to a verdict. No I/O, no clock, no randomness.

Per guardrail there are four cells. Non-inferior (the harmful limit is inside the margin) and no harm shown: pass.
Non-inferior, harm shown: pass with note, for much data must not punish a tolerable harm. Not non-inferior, harm shown:
hold. Neither: inconclusive. Every guardrail must be non-inferior for PASS, each at the full α (intersection–union,
Berger 1982: no adjustment is needed); harm is tested with Holm's adjustment over the guardrails. At planned looks both
spend their α by Lan and DeMets (`analysis.schedule`). A veto of the health checks makes it INCONCLUSIVE, input that
cannot be judged makes it ERROR. Next module: `analysis.evidence`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from analysis.estimates import Estimate
from analysis.limits import upper as harmful_limit
from analysis.measures import LOWER, MEASURES, SHADOW_ON_PRIMARY
from analysis.multiplicity import holm
from analysis.needed import in_words, needed
from analysis.plan import MetricPlan, Plan
from analysis.schedule import WHOLE, Look, last
from analysis.verdict import ERROR, HOLD, INCONCLUSIVE, PASS, VETO, Check, MetricResult
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
    plan: Plan,
    found: Sequence[Evidence],
    checks: Sequence[Check],
    hours: float,
    unusable: Sequence[str] = (),
    look: Look = WHOLE,
) -> Judgement:
    """The verdict on `found` (one per metric of the plan, any order), seen in `hours` of traffic, at `look`.

    `unusable` lists why the input cannot be judged at all; a metric of the plan without evidence is such a reason.
    """
    known = {each.metric.name: each for each in found}
    lacking = [f"{metric.name}: no evidence" for metric in plan.metrics if metric.name not in known]
    broken = unusable or lacking
    if broken:
        return Judgement(ERROR, tuple(broken), ())
    ordered = [known[metric.name] for metric in plan.metrics]
    guardrails = [each for each in ordered if each.metric.role == "guardrail"]
    p_values = holm([look.adjusted(_p_harm(each)) for each in guardrails])
    adjusted = {each.metric.name: p for each, p in zip(guardrails, p_values, strict=True)}
    metrics = tuple(_metric(plan, each, adjusted.get(each.metric.name), hours, look) for each in ordered)
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


def _metric(plan: Plan, each: Evidence, p_holm: float | None, hours: float, look: Look) -> MetricResult:
    metric, measure, harm = each.metric, MEASURES[each.metric.name], _harmful(each)
    decision, reason, more = "descriptive", "described only, decides nothing", None
    alpha = look.nominal(plan.alpha)
    if p_holm is not None:
        decision, reason = _decide(plan, each, harm, p_holm, alpha)
    if decision == "inconclusive" and harm is not None:
        at_last = last(plan.looks).nominal(plan.alpha)
        more = needed(plan, harm, _scaled(metric.margin, harm), hours, at_last)
        reason += in_words(more, harm, hours)
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
        needed=more,
    )
    return base if each.estimate is None or harm is None else _with_numbers(base, alpha, each.estimate, harm, p_holm)


def _with_numbers(
    base: MetricResult, alpha: float, estimate: Estimate, harm: Estimate, p_holm: float | None
) -> MetricResult:
    """`base` with everything that rests on an estimate, turned back from the harm's direction to the metric's own."""
    harm_lower = _unscaled(harm.lower(alpha), harm)
    harm_upper = _unscaled(harmful_limit(harm, base.unit, alpha), harm)
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


def _decide(plan: Plan, each: Evidence, harm: Estimate | None, p_holm: float, alpha: float) -> tuple[str, str]:
    """The cell of one guardrail, and why in words."""
    if harm is None:
        return "inconclusive", each.why_none
    few = _below_floors(plan, harm)
    if few:
        return "inconclusive", few
    if not harm.bounded:
        return "inconclusive", harm.spread.notes[0] if harm.spread.notes else "no interval can be given"
    unit = each.metric.unit
    upper = harmful_limit(harm, unit, alpha)
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


def _scaled(margin: float | None, harm: Estimate) -> float:
    """The margin on the scale of the estimate. A guardrail always has one (`analysis.plan`)."""
    if margin is None:
        raise ValueError("a guardrail without a margin cannot be judged")
    return math.log1p(margin) if harm.log else margin


def _unscaled(value: float | None, estimate: Estimate) -> float | None:
    """A number of the estimate's scale in the metric's unit; None for one beyond all numbers."""
    try:
        return math.expm1(value) if estimate.log and value is not None else value
    except OverflowError:
        return None


def _share(limit: float | None) -> float | None:
    """A level, not a difference: it cannot leave [0, 1]."""
    return None if limit is None else min(max(limit, 0.0), 1.0)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
