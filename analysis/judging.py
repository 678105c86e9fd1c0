"""The whole judgement in one function: pair records and a plan in, the result model out.

It reads no file and writes none; `analysis.cli` does. Next module: `analysis.report.result`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from analysis.adapters import ADAPTERS
from analysis.evidence import all_evidence, latency_ms
from analysis.gate import MEANING, Judgement, judge
from analysis.health import LogState, health_checks
from analysis.items import Items
from analysis.load import Tally, join
from analysis.measures import SHADOW_CONTROL
from analysis.noise import noise_floor
from analysis.plan import CONTROL, HOUR_US, SHADOW, Plan
from analysis.promises import broken_promises, hours_seen, informed, size_promised, until_look, versions_promised
from analysis.reading import FAILED, read_rows
from analysis.report.result import (
    BundleSummary,
    CatalogueSummary,
    Discordance,
    LatencyRow,
    PlanSummary,
    Result,
    Window,
)
from analysis.rows import Rows
from analysis.schedule import WHOLE, Look, due
from analysis.sources import source_changes, source_shares
from analysis.triples import Triples
from analysis.verdict import Check
from shadow.contracts import PairRecord

SOFTWARE = ("understudy-shadow", "numpy", "scipy")


@dataclass(frozen=True)
class Inputs:
    """What is judged by: the plan and its hash, the catalogue's items and its summary, the bundles named.

    `promised_sha256` is the hash of the plan that was fixed before the data came, where somebody kept it.
    """

    plan: Plan
    plan_sha256: str
    items: Items
    catalogue: CatalogueSummary
    bundles: tuple[BundleSummary, ...] = ()
    promised_sha256: str = ""


def judge_log(
    records: Iterable[PairRecord],
    inputs: Inputs,
    experiment: str = "",
    log_state: Callable[[], LogState] | None = None,
    until_us: int | None = None,
) -> Result:
    """Judge `records` by the plan; `log_state` gives the log's health once all records were read.

    `until_us` is the watermark of a log that still grows: what arrived then or later is left out.
    """
    rows = read_rows(records, ADAPTERS[inputs.plan.adapter], inputs.items)
    return judge_rows(rows, inputs, experiment, log_state() if log_state else None, until_us)


def judge_rows(
    rows: Rows,
    inputs: Inputs,
    experiment: str = "",
    log: LogState | None = None,
    until_us: int | None = None,
) -> Result:
    """Judge the rows of a whole log, in any order; `log` is the health of the files that they came from."""
    plan = inputs.plan
    read = len(rows)
    if until_us is not None:
        rows = rows.take(rows.arrival_us < until_us)
    triples, tally = join(rows, inputs.items)
    unusable = _unusable(triples, tally, log, plan)
    unusable += broken_promises(plan, inputs.plan_sha256, inputs.promised_sha256, inputs.catalogue)
    if unusable:
        return _result(inputs, tally, experiment, judge(plan, [], [], 0.0, unusable), ())
    hours = hours_seen(tally)
    look = due(plan.looks, hours)
    triples = until_look(triples, tally, look)
    look = informed(look, plan, triples, tally)
    window = _window(triples, tally, until_us, look)
    noise = None
    if CONTROL in triples.arms:
        noise = noise_floor(triples, plan.block_us, plan.alpha, [metric.name for metric in plan.metrics])
    checks = health_checks(triples, tally, log, noise, plan, read - len(rows)) + versions_promised(
        plan, inputs.bundles, tally
    )
    checks += size_promised(plan, look, hours, window.users)
    judgement = judge(plan, all_evidence(triples, plan), checks, window.hours, look=look or WHOLE)
    both = CONTROL in triples.arms
    return _result(
        inputs,
        tally,
        experiment,
        judgement,
        checks,
        window=window,
        noise=noise,
        sources=source_shares(triples),
        source_changes=source_changes(triples),
        latency=_latency(triples, plan) if both else (),
        failures=_failures(triples) if both else None,
    )


def not_judged(inputs: Inputs, experiment: str, reason: str) -> Result:
    """The ERROR result of a log that could not even be read."""
    return _result(inputs, Tally(), experiment, judge(inputs.plan, [], [], 0.0, (reason,)), ())


def _unusable(triples: Triples, tally: Tally, log: LogState | None, plan: Plan) -> tuple[str, ...]:
    """Why the log cannot be judged at all, with the remedy; empty when it can."""
    if not tally.records:
        problems = "; ".join(log.problems()) if log else ""
        return (f"the log holds no pair that can be read ({problems or 'it is empty'}). Was anything replayed?",)
    if len(tally.experiments) > 1:
        return (f"the log holds several experiments: {', '.join(sorted(tally.experiments))}. Choose one: --experiment",)
    found = []
    if SHADOW not in tally.records:
        found.append(f"no pair of arm {SHADOW!r}, only of {', '.join(sorted(tally.records))}: nothing is on trial")
    needs = [metric.name for metric in plan.metrics if metric.comparison == SHADOW_CONTROL]
    if needs and CONTROL not in tally.records:
        found.append(f"no pair of arm {CONTROL!r}, which {', '.join(needs)} need: deploy a control, or change the plan")
    if not found and not len(triples):
        why = ", ".join(f"{count} {reason}" for reason, count in tally.unusable_primary.most_common(3))
        found.append(f"no request has a readable answer of the primary ({why}): does the plan's adapter fit?")
    return tuple(found)


def _result(
    inputs: Inputs,
    tally: Tally,
    experiment: str,
    judgement: Judgement,
    checks: tuple[Check, ...],
    **others: object,
) -> Result:
    plan = inputs.plan
    fields = {
        "verdict": judgement.verdict,
        "meaning": MEANING[judgement.verdict],
        "reasons": judgement.reasons,
        "experiment": experiment or ", ".join(sorted(tally.experiments)),
        "plan": PlanSummary(
            name=plan.name,
            sha256=inputs.plan_sha256,
            alpha=plan.alpha,
            power=plan.power,
            block_hours=plan.block_hours,
            deadline_ms=plan.deadline_ms,
            adapter=plan.adapter,
            missing_rule=plan.missing_rule,
        ),
        "catalogue": inputs.catalogue,
        "bundles": inputs.bundles,
        "versions": {arm: tuple(sorted(names)) for arm, names in sorted(tally.versions.items())},
        "outcomes": {arm: dict(sorted(counts.items())) for arm, counts in sorted(tally.outcomes.items())},
        "metrics": judgement.metrics,
        "health": checks,
        "software": {name: version(name) for name in SOFTWARE},
    }
    return Result(**(fields | others))  # type: ignore[arg-type]


def _window(triples: Triples, tally: Tally, until_us: int | None, look: Look | None) -> Window:
    first, last = tally.first_event_us or 0, tally.last_event_us or 0
    if look is not None and look.hours is not None:
        last = min(last, first + round(look.hours * HOUR_US))
    return Window(
        first_event_us=first,
        last_event_us=last,
        watermark_us=until_us if until_us is not None else tally.last_arrival_us or 0,
        hours=(last - first) / HOUR_US,
        requests=len(triples),
        users=len(np.unique(triples.users)),
    )


def _latency(triples: Triples, plan: Plan) -> tuple[LatencyRow, ...]:
    both = triples.arms[SHADOW].judged & triples.arms[CONTROL].judged
    if not both.any():
        return ()
    rows = []
    for arm in (CONTROL, SHADOW):
        took = latency_ms(triples.arms[arm], plan.deadline_ms)[both]
        p50, p95, p99 = np.quantile(took, [0.5, 0.95, 0.99]).tolist()
        curve = tuple(np.quantile(took, np.linspace(0, 1, 101)).tolist())
        at_deadline = float((took >= plan.deadline_ms).mean())
        rows.append(LatencyRow(arm=arm, p50_ms=p50, p95_ms=p95, p99_ms=p99, at_deadline=at_deadline, curve_ms=curve))
    return tuple(rows)


def _failures(triples: Triples) -> Discordance:
    shadow, control = triples.arms[SHADOW], triples.arms[CONTROL]
    both = shadow.judged & control.judged
    failed = [(arm.state == FAILED)[both] for arm in (shadow, control)]
    return Discordance(
        neither=int((~failed[0] & ~failed[1]).sum()),
        only_shadow=int((failed[0] & ~failed[1]).sum()),
        only_control=int((~failed[0] & failed[1]).sum()),
        both=int((failed[0] & failed[1]).sum()),
    )
