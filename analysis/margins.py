"""Margins from the champion's own week-to-week variation: what it does by itself is what a shadow may do, too.

A metric of the champion has a level in each week, and two weeks in a row a change. Its own variation is the root mean
square of these changes, with what only other users in the one week than in the other make (the variance of each change,
clustered by user) taken off: a small log would else excuse a wide margin, and a trend over months one as wide as the
months. Rates that hardly move at all get what the users of a trial can exclude when nothing is seen. Pure.
Next module: `analysis.margins_text`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.aggregates import Floats, numbered, totals
from analysis.estimates import effective
from analysis.evidence import OF_LIST, known_metrics, latency_ms
from analysis.measures import MEASURES, NONE, SHADOW_CONTROL
from analysis.plan import CONTROL, HOUR_US
from analysis.quantiles import quantile_influence
from analysis.reading import FAILED
from analysis.triples import Flags, Triples

WEEK_US: Final = 7 * 24 * HOUR_US
LEAST_WEEKS: Final = 3
"""Two changes: with one there is no telling what is usual."""

Users = npt.NDArray[np.intp]


class MarginError(Exception):
    """No margin can be told; the text says why and what to do."""


@dataclass(frozen=True)
class Variation:
    """One metric of the champion by weeks: `levels`, `changes` from each to the next, `chance` the variances of these
    that come of other users."""

    name: str
    levels: tuple[float, ...]
    chance: tuple[float, ...]

    @property
    def changes(self) -> tuple[float, ...]:
        """From each week to the next."""
        return tuple(np.diff(self.levels).tolist())

    @property
    def seen(self) -> float:
        """The root mean square of the changes, chance and all."""
        return float(np.sqrt(np.mean(np.square(self.changes))))

    @property
    def own(self) -> float:
        """The same without what chance adds; 0 where chance alone would do as much."""
        return float(np.sqrt(max(0.0, float(np.mean(np.square(self.changes)) - np.mean(self.chance)))))


def variation(triples: Triples, name: str, deadline_ms: float) -> Variation:
    """How the champion's metric `name` moved from week to week; `MarginError` where that cannot be told.

    Weeks are counted from the first event; the last one, which is not whole, is left out. Lists are the primary's,
    latencies and errors the control's, which is the champion deployed as the shadow will be.
    """
    users, weeks = numbered(triples.users), weeks_of(triples)
    whole = whole_weeks(triples)
    if whole < LEAST_WEEKS:
        raise MarginError(f"{whole} whole weeks in the log, at least {LEAST_WEEKS} are needed to see what is usual")
    kept, values = _values(triples, name, deadline_ms)
    found = []
    for week in range(whole):
        rows = kept & (weeks == week)
        if not rows.any():
            raise MarginError(f"{name}: week {week + 1} has no request that could be judged")
        found.append(_week(name, users[rows], int(users.max()) + 1, values[rows], deadline_ms))
    return Variation(name, tuple(each.level for each in found), tuple(_chance(found)))


def weeks_of(triples: Triples) -> npt.NDArray[np.int64]:
    """The week of each request, from 0."""
    return np.asarray((triples.event_us - triples.event_us.min()) // WEEK_US) if len(triples) else triples.event_us


def whole_weeks(triples: Triples) -> int:
    """Weeks that the log spans from end to end. A week whose last day is there counts as whole: events are sparse."""
    if not len(triples):
        return 0
    return int((triples.event_us.max() - triples.event_us.min() + 24 * HOUR_US) // WEEK_US)


def excluded_by(users: float, alpha: float) -> float:
    """The largest rate that `users` users exclude when none of them shows it: 1 − α^(1/n), the rule of three."""
    return float(1 - alpha ** (1 / users))


@dataclass(frozen=True)
class _Week:
    """The level of one week; `influence` of each user of the log on it, and who of them was `there`, (users,)."""

    level: float
    influence: Floats
    there: Flags


def _week(name: str, who: Users, most: int, values: Floats, deadline_ms: float) -> _Week:
    """Of the values of a week's requests and the numbers, below `most`, of their users."""
    counts, q = np.bincount(who, minlength=most), MEASURES[name].q
    there = counts > 0
    if q is not None:
        level, influence = float(np.quantile(values, q)), quantile_influence(values, q, deadline_ms)
    elif MEASURES[name].comparison == SHADOW_CONTROL:
        level = float(values.mean())
        influence = (values - level) / len(values)
    else:
        means = totals(who, values, most)[there] / counts[there]
        level, who, influence = float(means.mean()), np.flatnonzero(there), (means - means.mean()) / len(means)
    return _Week(level, totals(who, influence, most), there)


def _values(triples: Triples, name: str, deadline_ms: float) -> tuple[Flags, Floats]:
    """Which requests count, and the champion's value at every request."""
    if name in OF_LIST:
        values = getattr(triples.table, OF_LIST[name]).astype(np.float64)[triples.lists]
        return np.ones(len(triples), dtype=np.bool_), values
    control = triples.arms[CONTROL]
    if name == "errors":
        return control.judged, (control.state == FAILED).astype(np.float64)
    return control.judged, latency_ms(control, deadline_ms)


def _chance(weeks: Sequence[_Week]) -> Iterator[float]:
    """The variance of each change, by users; who came in both weeks counts once, with both."""
    for before, after in pairwise(weeks):
        change, users = after.influence - before.influence, int((before.there | after.there).sum())
        yield float((change**2).sum()) * users / (users - 1) if users > 1 else 0.0


def users_that_count(triples: Triples, name: str) -> float:
    """The effective users, (Σn)²/Σn², of a metric: where requests count, who asks often counts for few."""
    requests = np.unique(triples.users[weeks_of(triples) < whole_weeks(triples)], return_counts=True)[1]
    return effective(requests.astype(np.float64)) if name not in OF_LIST else float(len(requests))


def can_vary(triples: Triples, name: str) -> str:
    """Why a metric has no margin from this log; empty when it can have one."""
    measure = MEASURES[name]
    if measure.harm == NONE:
        return "it has no harmful direction, so no margin"
    if name not in known_metrics(triples.table):
        return "the catalogue does not say what it needs"
    if name not in OF_LIST and name != "errors" and measure.q is None:
        return "it compares two arms on each request, so the champion alone has none"
    if measure.comparison == SHADOW_CONTROL and CONTROL not in triples.arms:
        return "the log has no control, which it is about: deploy one"
    return ""
