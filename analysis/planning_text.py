"""A sized plan as YAML, which is hashed, and as Markdown, which is signed. Next module: `analysis.planning_cli`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import yaml

from analysis.formulas import check
from analysis.formulas_counts import SRM_ALPHA
from analysis.looks import Looks
from analysis.measures import GUARDRAILS, MEASURES
from analysis.plan import plan_hash
from analysis.planning import GUARDRAIL, SHADOW, SUCCESS, Metric, Sized
from analysis.power_report import short


@dataclass(frozen=True)
class Words:
    """What only people can say. `ramp`: shares of the users before all of them take part, a day each."""

    name: str
    hypothesis: str
    unit: str = "user"
    ramp: tuple[float, ...] = (0.01, 0.1, 0.5)
    segments: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    block_hours: float = 6.0
    deadline_ms: float = 2000.0


def to_yaml(found: Sized, words: Words) -> bytes:
    """The plan as a file: of a shadow the gate's own format, of an A/B test every decision and every number."""
    document = _shadow(found, words) if found.request.template == SHADOW else _ab(found, words)
    head = "# Made by `understudy plan new`. Sign it, commit it, and change nothing after the data came.\n"
    return (head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)).encode()


def _shadow(found: Sized, words: Words) -> dict[str, Any]:
    request = found.request
    for metric in request.metrics:
        check(metric.name in MEASURES, f"unknown metric {metric.name!r}; known are {', '.join(MEASURES)}")
    metrics = [
        {
            "name": metric.name,
            "role": "guardrail",
            "comparison": MEASURES[metric.name].comparison,
            "unit": MEASURES[metric.name].units[0],
            "margin": metric.size,
            "reason": metric.reason,
        }
        for metric in request.metrics
    ]
    return {
        "schema_version": 1, "name": words.name, "alpha": request.guardrail_alpha, "power": request.power,
        "looks": [hours_of(found.weeks)], "minimum_users": math.ceil(found.needed / 2),
        "block_hours": words.block_hours, "deadline_ms": words.deadline_ms, "metrics": metrics,
    }  # fmt: skip


def hours_of(weeks: int) -> int:
    """When the gate looks: on the last day of the last week, for a week's traffic never spans the whole of it."""
    return 24 * (7 * weeks - 1)


def _ab(found: Sized, words: Words) -> dict[str, Any]:
    request = found.request
    bounds = found.bounds
    return {
        "schema_version": 1,
        "kind": "ab",
        "name": words.name,
        "hypothesis": words.hypothesis,
        "unit": words.unit,
        "arms": request.arms,
        "success": [_metric(found, metric) for metric in request.of(SUCCESS)],
        "guardrails": [_metric(found, metric) for metric in request.of(GUARDRAIL)],
        "alpha": {"success_together": request.alpha, "each_guardrail_one_sided": request.guardrail_alpha},
        "correction": "holm",
        "power": {"all": request.power, "each": found.needs[found.binding].question.target},
        "r_squared": request.r_squared,
        "users": {"needed": found.needed, "planned": found.users, "a_week": request.traffic},
        "weeks": found.weeks,
        "ramp": [{"share": share, "days": 1} for share in words.ramp],
        "looks": None if bounds is None else
        {"spending": bounds.design, "fractions": list(bounds.fractions), "limits": list(bounds.limits)},
        "stopping_rule": stopping_rule(bounds),
        "sample_ratio": {"alpha": SRM_ALPHA, "test": "chi-square", "on": f"{words.unit}s"},
        "segments": list(words.segments),
        "exclusions": list(words.exclusions),
    }  # fmt: skip


def _metric(found: Sized, metric: Metric) -> dict[str, Any]:
    question = found.needs[metric.name].question
    said = {"name": metric.name, "baseline": metric.baseline, "sd": metric.sd}
    size = {"effect" if metric.role == SUCCESS else "margin": metric.size, "smallest_found": found.found[metric.name]}
    harm = {"harm": metric.harm, "reason": metric.reason} if metric.role == GUARDRAIL else {}
    design = {"design": question.test.formula.design, "convention": question.test.convention}
    return {key: value for key, value in (said | size | harm | design).items() if value is not None}


def to_markdown(found: Sized, words: Words, text: bytes, place: str) -> str:
    """The plan for people, with the hash of its YAML; `place` is where that stands."""
    request = found.request
    promise = "every guardrail passes where nothing is worse"
    if request.of(SUCCESS):
        promise = "a success metric that has its effect wins and every guardrail passes where nothing is worse"
    each = short(found.needs[found.binding].question.target)
    parts = [
        f"# Plan: {words.name}",
        f"**Hypothesis.** {words.hypothesis}",
        f"{found.weeks} whole weeks at {short(request.traffic)} {words.unit}s a week: {found.users:,} {words.unit}s, "
        f"{found.needed:,} are needed (most by `{found.binding}`). With power {short(request.power)} {promise}; each "
        f"metric has {each}.",
        "## Metrics",
        _table(found),
        "## Rules",
        "\n".join(f"- {rule}" for rule in _rules(found, words)),
        "## Commands",
        "\n".join(f"    {command}" for command in commands(found, place)),
        f"SHA-256 of `{place}`: `{plan_hash(text)}`",
    ]
    return "\n\n".join(parts) + "\n"


def _table(found: Sized) -> str:
    head = "| metric | role | effect or margin | smallest found after all weeks | test | needs |"
    rows = ["|---|---|---|---|---|---|"]
    for metric in found.request.metrics:
        answer = found.needs[metric.name]
        side = "" if metric.role == SUCCESS else f" {metric.harm} is harm:" if found.request.template != SHADOW else ""
        rows.append(
            f"| `{metric.name}` | {metric.role} |{side} {short(metric.size)} | {short(found.found[metric.name])} | "
            f"{answer.formula.name} ({answer.formula.convention}) | {answer.arms.total:,} |"
        )
    return "\n".join([head, *rows])


def _rules(found: Sized, words: Words) -> list[str]:
    request, bounds = found.request, found.bounds
    if request.template == SHADOW:
        return [
            f"Each guardrail: non-inferiority, one-sided α {short(request.guardrail_alpha)}; all must pass.",
            f"The gate judges once, at {hours_of(found.weeks):,} hours of data, on the last day; runs before are for "
            f"health only, and with fewer than {math.ceil(found.needed / 2):,} {words.unit}s, half of what is needed, "
            "nothing is decided.",
            "PASS means safe to expose to an A/B test, never better.",
            *(f"`{metric.name}`, margin: {metric.reason}" for metric in request.metrics),
            *(
                f"`{name}` is not guarded."
                for name in GUARDRAILS
                if name not in [each.name for each in request.metrics]
            ),
            *(f"Excluded: {each}" for each in words.exclusions),
        ]
    stops = stopping_rule(bounds)
    ramp = ", ".join(f"{short(100 * share)} %" for share in words.ramp)
    return [
        stops,
        f"Success metrics: Holm at α {short(request.alpha)} together, two-sided. Guardrails: non-inferiority, each at "
        f"a one-sided α of {short(request.guardrail_alpha)}, all must pass.",
        f"Sample ratio first, on {words.unit}s: χ², p < {SRM_ALPHA:g} stops the analysis; it finds an arm's share "
        f"that is off by {short(found.mismatch)}.",
        f"Ramp before all take part, a day each: {ramp}; what the ramp sees does not count." if ramp else "No ramp.",
        f"Segments, descriptive, Benjamini–Hochberg: {', '.join(words.segments) or 'none'}.",
        f"Exclusions, fixed now: {'; '.join(words.exclusions) or 'none'}.",
        *(f"`{metric.name}`, margin: {metric.reason}" for metric in request.of(GUARDRAIL)),
    ]


def stopping_rule(bounds: Looks | None) -> str:
    """When an A/B test ends, in a sentence."""
    if bounds is None:
        return "The test ends when all weeks are over, and not before."
    return (
        f"{len(bounds.fractions)} looks ({bounds.design}) at equal parts of the users; a success metric ends the "
        f"test beyond |z| = {', '.join(short(limit) for limit in bounds.limits)}; guardrails are judged at the end."
    )


def commands(found: Sized, place: str) -> list[str]:
    """What makes the numbers again, and what judges them: of a shadow the gate, of an A/B test its analysis."""
    lines = [_power_command(found, metric) for metric in found.request.metrics]
    if found.request.template == SHADOW:
        lines.append(f"understudy gate LOCATION --plan {place} --catalogue BUNDLE/catalogue.parquet --out report")
        return lines
    fractions = found.bounds.fractions if found.bounds else ()
    for number in range(max(1, len(fractions))):
        so_far = ",".join(f"{each:.4g}" for each in fractions[: number + 1])
        lines.append(f"understudy ab analyze DATA --plan {place}" + (f" --at {so_far}" if so_far else ""))
    return lines


def _power_command(found: Sized, metric: Metric) -> str:
    question = found.needs[metric.name].question
    test, around = question.test, question.around
    options: dict[str, object] = {"absolute": metric.size, "alpha": test.alpha, "power": question.power}
    fields = {"baseline": metric.baseline if metric.sd is None else None, "sd": metric.sd}
    if test.formula.design == "noninferiority-proportion":
        fields["harm"] = metric.harm  # type: ignore[assignment]
    options |= {name: value for name, value in fields.items() if value is not None}
    said = {"arms": around.arms, "correction": around.correction, "r-squared": around.r_squared, "looks": around.looks,
            "spending": around.spending, "guardrails": around.guardrails}  # fmt: skip
    plain = {"arms": 2, "correction": "bonferroni", "r-squared": 0.0, "looks": 1, "guardrails": 0}
    options |= {name: value for name, value in said.items() if value != plain.get(name)}
    if around.looks == 1:
        options.pop("spending")
    if around.arms == 2:
        options.pop("correction", None)
    success = " --success-metric" if around.success else ""
    return f"understudy power {test.formula.design} " + " ".join(f"--{k} {v}" for k, v in options.items()) + success
