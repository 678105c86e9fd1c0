"""Loss where it is not random, clocks and beginnings: the health of a log below its totals. See `analysis.health`.

A share of loss that the plan allows can still be all of one kind. Lost slow requests make a shadow look fast; so loss
beyond the plan's share in one tenth of the primary's latencies, or behind one source, vetoes when chance does not
explain it. An hour of loss is an incident, and is told. Next module: `analysis.verdict`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.load import JUMP_US, Tally
from analysis.plan import HOUR_US, Plan
from analysis.reading import ABSENT, ANSWERED, MISSING
from analysis.sources import UNNAMED
from analysis.triples import Triples
from analysis.verdict import OK, VETO, WARN, Check

TENTHS: Final = 10
CHANCE: Final = 0.001
"""Over all groups of one kind: what chance gives more rarely is none (as for the sample ratio)."""
BEGINNING: Final = 0.05
"""The part of an arm's requests that is its beginning, by event time."""
COLD: Final = 2.0
"""So many times slower than afterwards is a beginning that still warms up."""
LEAST: Final = 200
"""Requests below which a beginning is not told from chance."""


def loss_checks(arm: str, triples: Triples, plan: Plan) -> list[Check]:
    """Loss of one arm by tenth of the primary's latency, by the primary's source and by hour of event time."""
    columns = triples.arms[arm]
    shown = columns.state != ABSENT
    lost = (columns.state == MISSING)[shown]
    kinds = (
        ("latency", *_tenths(triples.latency_us[shown]), VETO),
        ("source", *_sources(triples, shown), VETO),
        ("hour", *_hours(triples.event_us[shown]), WARN),
    )
    return [
        _worst(f"loss by {kind}: {arm}", lost, groups, names, plan.max_pair_loss, state)
        for kind, groups, names, state in kinds
    ]


Groups = npt.NDArray[np.int64]


def _tenths(latency_us: npt.NDArray[np.int64]) -> tuple[Groups, list[str]]:
    limits = np.quantile(latency_us, np.arange(1, TENTHS) / TENTHS) if len(latency_us) else np.zeros(TENTHS - 1)
    names = [f"tenth {number + 1} of the primary's latencies" for number in range(TENTHS)]
    return np.searchsorted(limits, latency_us, side="right").astype(np.int64), names


def _sources(triples: Triples, shown: npt.NDArray[np.bool_]) -> tuple[Groups, list[str]]:
    return triples.sources[shown].astype(np.int64), [name or UNNAMED for name in triples.names]


def _hours(event_us: npt.NDArray[np.int64]) -> tuple[Groups, list[str]]:
    hours, groups = np.unique(event_us // HOUR_US, return_inverse=True)
    texts = np.datetime_as_string((hours * 3600).astype("datetime64[s]"), unit="h")
    return groups.astype(np.int64), [f"{text.replace('T', ' ')} h" for text in texts.tolist()]


def _worst(name: str, lost: npt.NDArray[np.bool_], groups: Groups, names: list[str], limit: float, state: str) -> Check:
    """The group that lost the largest share beyond the plan's, if chance does not explain it."""
    expected = f"in no group certainly more than {100 * limit:.2f} %"
    total = np.bincount(groups, minlength=len(names))
    gone = np.bincount(groups[lost], minlength=len(names))
    some = np.flatnonzero(gone)
    chance = stats.binom.sf(gone[some] - 1, total[some], limit)
    worse = some[chance < CHANCE / max(1, int((total > 0).sum()))]
    if not len(worse):
        return Check(name=name, state=OK, found="no group stands out", expected=expected)
    share = gone[worse] / total[worse]
    worst = int(worse[np.argmax(share)])
    found = f"{names[worst]}: {gone[worst]} of {total[worst]} lost ({100 * share.max():.2f} %)"
    return Check(name=name, state=state, found=found, expected=expected)


def clock_check(tally: Tally, plan: Plan) -> Check:
    """Clocks that went back between two records of one router, and event times later than their arrival."""
    found = f"{tally.clock_back} records after a clock went back, {tally.ahead} with an event time after their arrival"
    state = WARN if tally.clock_back or tally.ahead else OK
    # Records of a clock that was wrong stand in wrong blocks; event times may be a header's, which means them so.
    state = VETO if tally.clock_back > plan.max_pair_loss * tally.records.total() else state
    return Check(name="clocks", state=state, found=found, expected=f"none by more than {JUMP_US // 1_000_000} s")


def warm_up_check(triples: Triples) -> Check:
    """Was an arm much slower in its beginning than afterwards?"""
    expected = f"a median not above {COLD:g} times that of the rest"
    slow = []
    for name, arm in sorted(triples.arms.items()):
        took = arm.latency_us[arm.state == ANSWERED]
        first = int(len(took) * BEGINNING)
        if first >= LEAST:
            beginning, rest = (float(np.median(part)) for part in (took[:first], took[first:]))
            if beginning > COLD * rest:
                slow.append(f"{name}: {beginning / 1000:.2f} ms against {rest / 1000:.2f} ms")
    found = f"median of the first {100 * BEGINNING:g} % of requests: {'; '.join(slow) or 'like the rest'}"
    return Check(name="warm-up", state=WARN if slow else OK, found=found, expected=expected)


def watermark_check(left_out: int, records: int) -> Iterable[Check]:
    """What arrived after the watermark of a log that still grows."""
    if not left_out:
        return ()
    found = f"{left_out} of {records + left_out} records arrived after the watermark and were left out"
    return (Check(name="watermark", state=WARN if left_out > records else OK, found=found, expected="less than half"),)
