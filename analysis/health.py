"""Health of the log before anything is believed: loss, duplicates, sampling, floors, versions, the control itself.

Each check is ok, warns, or vetoes; none can make a verdict better. Loss above the plan's share vetoes because it is
never random: slow calls are lost first, and a log without them makes a shadow look fast.
Next module: `analysis.wording`.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

import numpy as np
from scipy import stats

from analysis.aggregates import Integers, time_blocks, totals
from analysis.estimates import effective
from analysis.formulas_counts import SRM_ALPHA
from analysis.load import Tally
from analysis.loss import clock_check, loss_checks, warm_up_check, watermark_check
from analysis.noise import NoiseFloor
from analysis.plan import CONTROL, SHADOW, Plan
from analysis.reading import ABSENT, ANSWERED, FAILED
from analysis.triples import Triples
from analysis.verdict import OK, VETO, WARN, Check
from shadow.units import BUCKETS

SRM_BINS: Final = 10


class LogState(Protocol):
    """What is read of `PairLog.health`."""

    records: int
    missing: int
    unknown_schema: int
    complete: bool

    def problems(self) -> list[str]:
        """What is wrong with the log, in plain words."""
        ...


def health_checks(
    triples: Triples,
    tally: Tally,
    log: LogState | None,
    noise: NoiseFloor | None,
    plan: Plan,
    left_out: int = 0,
) -> tuple[Check, ...]:
    """All checks in the order of the report. `log` is None where there is no file behind the records; `left_out` of
    them arrived after its watermark."""
    arms = [arm for arm in (SHADOW, CONTROL) if arm in triples.arms]
    checks = [_log(log, plan)] if log is not None else []
    checks += [*watermark_check(left_out, tally.records.total())]
    checks += [_loss(arm, tally, plan) for arm in arms]
    checks += [check for arm in arms for check in loss_checks(arm, triples, plan)]
    checks += [_join(triples, plan)] if len(arms) > 1 else []
    checks += [_duplicates(tally, plan)]
    for arm in arms:
        checks += _sampling(arm, triples, plan)
    checks += [_named(triples, plan), _floors(triples, plan), *_control(triples, plan)]
    checks += [*_versions(tally), *_deadline(triples, plan)]
    checks += [clock_check(tally, plan), warm_up_check(triples)]
    return (*checks, *([_noise(noise, plan.max_control_difference)] if noise is not None else []))


def _graded(name: str, share: float, limit: float, found: str, expected: str) -> Check:
    """Nothing: ok; up to the limit: warn; above: veto."""
    state = OK if share == 0 else WARN if share <= limit else VETO
    return Check(name=name, state=state, found=found, expected=expected)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _log(log: LogState, plan: Plan) -> Check:
    lost = log.missing + log.unknown_schema
    share = lost / max(1, log.records + lost)
    problems = log.problems()
    found = "; ".join(problems) or f"{log.records} records, every sequence number there, all checksums right"
    checked = _graded(
        "log", share, plan.max_pair_loss, found, f"at most {_percent(plan.max_pair_loss)} of records lost"
    )
    return checked if checked.state != OK or not problems else _warned(checked)


def _warned(check: Check) -> Check:
    return Check(name=check.name, state=WARN, found=check.found, expected=check.expected)


def _loss(arm: str, tally: Tally, plan: Plan) -> Check:
    missing, records = tally.missing.get(arm, Counter[str]()), tally.records[arm]
    share = missing.total() / max(1, records)
    found = f"{_percent(share)} of {records} pairs"
    if missing:
        found += f" ({_listed(missing)})"
    return _graded(f"pair loss: {arm}", share, plan.max_pair_loss, found, f"at most {_percent(plan.max_pair_loss)}")


def _join(triples: Triples, plan: Plan) -> Check:
    """Nested buckets: whoever is inside the smaller fraction was shown to both arms."""
    smaller = min(plan.fractions.shadow, plan.fractions.control)
    inside = (triples.buckets < smaller * BUCKETS) & ((triples.buckets >= 0) | (smaller == 1))
    alone = inside & ((triples.arms[SHADOW].state == ABSENT) | (triples.arms[CONTROL].state == ABSENT))
    share = float(alone.sum()) / max(1, int(inside.sum()))
    found = f"{_percent(share)} of {int(inside.sum())} requests have one arm only"
    return _graded("both arms", share, plan.max_pair_loss, found, f"at most {_percent(plan.max_pair_loss)}")


def _duplicates(tally: Tally, plan: Plan) -> Check:
    twice = tally.duplicates + tally.reused_ids
    share = twice / max(1, tally.records.total())
    found = f"{tally.duplicates} copies logged twice, {tally.reused_ids} request ids on more than one request"
    return _graded("duplicates", share, plan.max_pair_loss, found, "no request id twice")


def _sampling(arm: str, triples: Triples, plan: Plan) -> list[Check]:
    """Is the mirrored fraction the configured one, and are the users who got in a fair sample of it?

    Users, not requests: under sampling by user a test on requests rejects four times out of five for nothing.
    """
    fraction = plan.fractions.shadow if arm == SHADOW else plan.fractions.control
    known = (triples.arms[arm].state != ABSENT) & (triples.buckets >= 0)
    first = np.unique(triples.users[known], return_index=True)[1]
    buckets = triples.buckets[known][first]
    checks = [_fraction(arm, buckets, fraction)]
    return [*checks, _srm(arm, buckets, fraction)] if fraction < 1 else checks


def _fraction(arm: str, buckets: Integers, fraction: float) -> Check:
    name, expected = f"mirrored fraction: {arm}", f"{_percent(fraction)} of users"
    if not len(buckets):
        return Check(name=name, state=WARN, found="no request named a user, so it cannot be told", expected=expected)
    reached, width = float(buckets.max() + 1) / BUCKETS, fraction * BUCKETS
    beyond = int((buckets >= width).sum())
    # The largest of n uniform buckets below `width` is this small with probability (largest/width)^n.
    p_small = min(1.0, (buckets.max() + 1) / width) ** len(buckets)
    found = f"{len(buckets)} users with buckets up to {_percent(reached)}, {beyond} of them beyond the fraction"
    return Check(name=name, state=VETO if beyond or p_small < SRM_ALPHA else OK, found=found, expected=expected)


def _srm(arm: str, buckets: Integers, fraction: float) -> Check:
    name, expected = f"sample ratio: {arm}", f"p ≥ {SRM_ALPHA} (χ² over users in {SRM_BINS} equal ranges of buckets)"
    inside = buckets[buckets < fraction * BUCKETS]
    if len(inside) < 5 * SRM_BINS:
        return Check(name=name, state=WARN, found=f"{len(inside)} users are too few to tell", expected=expected)
    counts = np.histogram(inside, bins=SRM_BINS, range=(0, fraction * BUCKETS))[0]
    p_value = float(stats.chisquare(counts).pvalue)
    found = f"p = {p_value:.3g} over {len(inside)} users"
    return Check(name=name, state=OK if p_value >= SRM_ALPHA else VETO, found=found, expected=expected)


def _named(triples: Triples, plan: Plan) -> Check:
    """A request without a user is a cluster of its own; of who sent many of them nothing is known."""
    nameless, limit = int((triples.buckets < 0).sum()), plan.max_without_user
    share = nameless / max(1, len(triples))
    found = f"{nameless} of {len(triples)} requests name no user, and each counts as one"
    return _graded("named users", share, limit, found, f"at most {_percent(limit)} of requests")


def _floors(triples: Triples, plan: Plan) -> Check:
    judged = triples.take(triples.arms[SHADOW].judged) if SHADOW in triples.arms else triples
    sizes = []
    for clusters in (judged.users, time_blocks(judged.event_us, plan.block_us)):
        codes = np.unique(clusters, return_inverse=True)[1]
        sizes.append((len(np.unique(codes)), effective(totals(codes, np.ones(len(codes))))))
    (users, eff_users), (blocks, eff_blocks) = sizes
    found = (
        f"{len(judged)} requests of {users} users ({eff_users:.1f} effective) "
        f"in {blocks} blocks of {plan.block_hours:g} h ({eff_blocks:.1f} effective)"
    )
    enough = eff_users >= plan.floors.users and eff_blocks >= plan.floors.blocks
    expected = f"at least {plan.floors.users:g} effective users and {plan.floors.blocks:g} effective blocks"
    return Check(name="users and blocks", state=OK if enough else VETO, found=found, expected=expected)


def _control(triples: Triples, plan: Plan) -> list[Check]:
    if CONTROL not in triples.arms:
        return []
    states = triples.arms[CONTROL].state
    failed, judged = int((states == FAILED).sum()), int((states >= FAILED).sum())
    share = failed / max(1, judged)
    found, limit = f"{failed} of {judged} calls failed", plan.max_control_failures
    return [_graded("control", share, limit, found, f"at most {_percent(limit)} failed calls")]


def _versions(tally: Tally) -> list[Check]:
    """One version per arm, and the control's is the primary's: else the log mixes two questions."""
    found = {arm: sorted(tally.versions.get(arm, {})) for arm in ("primary", SHADOW, CONTROL)}
    words = "; ".join(f"{arm} {', '.join(names)}" for arm, names in found.items() if names)
    mixed = any(len(names) > 1 for names in found.values())
    other = bool(found["primary"] and found[CONTROL]) and found["primary"] != found[CONTROL]
    expected = "one version per arm, the control's the primary's"
    return [
        Check(name="versions", state=VETO if mixed or other else OK, found=words or "none named", expected=expected)
    ]


def _deadline(triples: Triples, plan: Plan) -> list[Check]:
    columns = [arm.latency_us[arm.state == ANSWERED] for arm in triples.arms.values()]
    late = sum(int((column > plan.deadline_ms * 1000).sum()) for column in columns)
    found = f"{late} answers took longer than {plan.deadline_ms:g} ms and were cut off there"
    return [
        Check(name="deadline", state=WARN if late else OK, found=found, expected="none: it is the router's deadline")
    ]


def _noise(noise: NoiseFloor, limit: float) -> Check:
    # One version that answers the same request in two ways (a store that is late under load, say) hides what a shadow
    # loses: seen in the demo at 2.5 times its rate, where a challenger that is HELD otherwise passed.
    differ = noise.compared - noise.identical
    found = f"{differ} of {noise.compared} control lists differ from the primary's"
    if differ:
        kinds = (f"{each.requests} {each.primary_source} → {each.control_source}" for each in noise.disagreements[:3])
        found += f" ({', '.join(kinds)})"
    expected = f"identical lists: the same version on the same facts (at most {limit:.2%} different)"
    state = VETO if differ > limit * noise.compared else WARN if differ else OK
    return Check(name="noise floor", state=state, found=found, expected=expected)
