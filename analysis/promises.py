"""What was promised before the data came, held against what there is: the plan itself, its catalogue, versions, looks.

Another plan or catalogue than the promised makes ERROR; another version, too little time or a look that is still to
come is a veto. Next module: `analysis.judging`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analysis.load import Tally
from analysis.plan import HOUR_US, Plan
from analysis.report.result import BundleSummary, CatalogueSummary
from analysis.schedule import Look
from analysis.triples import Triples
from analysis.verdict import OK, VETO, Check


def broken_promises(plan: Plan, digest: str, promised: str, catalogue: CatalogueSummary) -> tuple[str, ...]:
    """Why this plan or this catalogue may not judge; `promised` is the plan's hash from before the data, or empty."""
    found = []
    if promised and promised != digest:
        found.append(
            f"the plan was changed: its SHA-256 is {digest[:12]}…, promised was {promised[:12]}…. Margins hold only "
            "when they were fixed before the data: judge by the promised plan, or write a new one for new data"
        )
    if plan.catalogue and plan.catalogue != catalogue.sha256:
        found.append(
            f"the plan was written for a catalogue with SHA-256 {plan.catalogue[:12]}…, given was "
            f"{catalogue.sha256[:12]}…: give that one, or write a new plan"
        )
    return tuple(found)


def versions_promised(plan: Plan, bundles: Sequence[BundleSummary], tally: Tally) -> tuple[Check, ...]:
    """Did each arm answer as the bundle that was given for it, and as the version that the plan names?"""
    checks = []
    if bundles:
        wrong = [
            f"{bundle.arm} answered as {logged}, its bundle is {bundle.name}:{bundle.version}"
            for bundle in bundles
            for logged in sorted(tally.versions.get(bundle.arm, {}))
            if logged not in (bundle.version, f"{bundle.name}:{bundle.version}")
        ]
        found = "; ".join(wrong) or "; ".join(f"{bundle.arm} is {bundle.name}:{bundle.version}" for bundle in bundles)
        checks.append(_check("bundles", not wrong, found, "each arm answered with the bundle named for it"))
    if plan.bundles:
        wrong = [
            f"{arm} answered as {logged}, the plan is for {version}"
            for arm, version in sorted(plan.bundles.items())
            for logged in sorted(tally.versions.get(arm, {}))
            if version not in (logged, logged.rpartition(":")[2])
        ]
        found = "; ".join(wrong) or "; ".join(f"{arm} is {version}" for arm, version in sorted(plan.bundles.items()))
        checks.append(_check("planned versions", not wrong, found, "each arm answered as the version of the plan"))
    return tuple(checks)


def size_promised(plan: Plan, look: Look | None, hours: float, users: int) -> tuple[Check, ...]:
    """Is there enough time, are there enough users for a verdict, and which look is it?"""
    checks = []
    if plan.minimum_users:
        enough, found = users >= plan.minimum_users, f"{users:,} users"
        checks.append(_check("size", enough, found, f"at least {plan.minimum_users:,} users"))
    if plan.minimum_hours:
        enough = hours >= plan.minimum_hours
        checks.append(
            _check("duration", enough, f"{hours:.1f} hours of data", f"at least {plan.minimum_hours:g} hours")
        )
    if plan.looks:
        found = f"{hours:.1f} hours of data: the first look is still to come"
        if look is not None and look.hours is not None:
            limit = look.nominal(plan.alpha)
            found = f"look {look.number} of {look.of}, at {look.hours:g} hours; each test at a one-sided {limit:.3g}"
        expected = f"looks at {', '.join(f'{each:g}' for each in plan.looks)} hours of data"
        checks.append(_check("look", look is not None, found, expected))
    return tuple(checks)


def hours_seen(tally: Tally) -> float:
    """From the first event to the last one."""
    return ((tally.last_event_us or 0) - (tally.first_event_us or 0)) / HOUR_US


def until_look(triples: Triples, tally: Tally, look: Look | None) -> Triples:
    """What a look looks at: the data up to it, however much came later."""
    if look is None or look.hours is None:
        return triples
    return triples.take(triples.event_us < (tally.first_event_us or 0) + look.hours * HOUR_US)


def informed(look: Look | None, plan: Plan, triples: Triples, tally: Tally) -> Look | None:
    """The look with what was there at it and at those before: visits, a user in a time block."""
    if look is None or look.hours is None:
        return look
    cells = triples.clusters(plan.block_us).cells
    since = triples.event_us - (tally.first_event_us or 0)
    there = (len(np.unique(cells[since < hours * HOUR_US])) for hours in plan.looks[: look.number])
    return replace(look, information=tuple(float(each) for each in there))


def _check(name: str, fine: bool, found: str, expected: str) -> Check:
    return Check(name=name, state=OK if fine else VETO, found=found, expected=expected)
