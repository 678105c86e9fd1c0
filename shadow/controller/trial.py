"""`status.pairs`: the sum of what the routers counted, over their restarts and the operator's: pure.

Status is the memory: of each router's life the count that is in the sum stands there, so nothing is added twice,
whoever writes it. Never too many, and it never falls during a trial. Too few are, of a router that was killed, the
pairs since its last report (20 s at most); of one that this trial meets late, those before its first report.
Next module: `shadow.controller.statuses`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from shadow.control_contract import BEGAN, Report
from shadow.controller.names import SHADOW
from shadow.controller.observed import Heard
from shadow.controller.parts import Version
from shadow.controller.resource import Counted, Status, Trial

MOST_COUNTED: Final = 256
"""Lives that are remembered beside those that were heard lately."""
_BEGAN: Final = re.compile(r"\d{8}T\d{6}(?=-)")
"""At the beginning of an incarnation: when it began, UTC. Of another form, it is taken to be older than the trial."""


def counted(
    before: Status, shadow: Version | None, routers: Mapping[str, Heard], now: datetime
) -> tuple[int, Trial | None]:
    """Pairs of the `shadow` on trial, and what is to be remembered of them; (0, None) without one."""
    if shadow is None:
        return 0, None
    told = {
        heard.incarnation: _pairs(heard.report, shadow.bento) for heard in routers.values() if heard.report is not None
    }
    trial = before.trial
    if trial is None or before.shadow is None or before.shadow.bento != shadow.bento:
        # What a router that runs has counted of this version was in a trial before.
        return 0, _remembered(now.strftime(BEGAN), told, told)
    known = {each.incarnation: each.pairs for each in trial.counted}
    new = 0
    for incarnation, pairs in told.items():
        base = known.get(incarnation, 0 if _began(incarnation) > trial.since else pairs)
        new += max(0, pairs - base)
        known[incarnation] = max(pairs, base)
    return before.pairs + new, _remembered(trial.since, known, told)


def _pairs(report: Report, bento: str) -> int:
    return sum(arm.pairs for arm in report.arms if (arm.arm, arm.version) == (SHADOW, bento))


def _began(incarnation: str) -> str:
    found = _BEGAN.match(incarnation)
    return found[0] if found is not None else ""


def _remembered(since: str, known: Mapping[str, int], alive: Mapping[str, int]) -> Trial:
    """All that are alive, and the newest of the rest. One that is forgotten and comes back was met late."""
    gone = sorted(known.keys() - alive.keys())
    forgotten = gone[: max(0, len(gone) - MOST_COUNTED)]
    since = max([since, *(_began(each) for each in forgotten)])
    kept = sorted(known.keys() - set(forgotten))
    return Trial(since=since, counted=tuple(Counted(incarnation=each, pairs=known[each]) for each in kept))
