"""An A/B test judged by what was planned: the sample ratio first, then success metrics, guardrails, days and segments.

Success metrics by Holm (or at a look by its bound), guardrails by non-inferiority, segments by Benjamini and Hochberg.
Pure. Next module: `analysis.ab_report`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from analysis.ab import (
    WITHIN,
    DataError,
    Effect,
    Part,
    compare,
    cuped,
    of_ratio,
    part,
    sample_ratio,
    stratified,
)
from analysis.ab_data import NO_ROW, Rows, Users, by_user
from analysis.formulas_counts import SRM_ALPHA
from analysis.looks import LAN_DEMETS_OBRIEN_FLEMING, nominal_so_far
from analysis.multiplicity import benjamini_hochberg, holm

WINS: Final = "wins"
LOSES: Final = "loses"
OPEN: Final = "not shown"
PASSES: Final = "passes"
HARM: Final = "harm shown"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is measured: the mean of a column's sums per user, or a ratio of two. A guardrail has a margin.

    `relative`: the margin is a share of the control's value.
    """

    name: str
    numerator: str
    denominator: str | None = None
    margin: float | None = None
    relative: bool = False
    harm: Literal["lower", "higher"] = "lower"

    @property
    def columns(self) -> list[str]:
        """The columns it is made of."""
        return [self.numerator] if self.denominator is None else [self.numerator, self.denominator]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is judged. `fractions`: of the planned users at the looks so far, the present one last; `looks`: at all
    planned looks, which bounds of a fixed shape need. `crossed_limit`: the share of users in two arms up to which they
    may be left out."""

    success: tuple[Metric, ...]
    guardrails: tuple[Metric, ...] = ()
    shares: tuple[float, ...] = ()
    alpha: float = 0.05
    guardrail_alpha: float = 0.05
    covariates: tuple[str, ...] = ()
    strata: str | None = None
    segments: tuple[str, ...] = ()
    day: str | None = None
    fractions: tuple[float, ...] = ()
    looks: tuple[float, ...] = ()
    spending: str = LAN_DEMETS_OBRIEN_FLEMING
    normal: bool = False
    theta: str = WITHIN
    crossed_limit: float = 0.01

    @property
    def words(self) -> list[str]:
        """The columns that are not numbers."""
        return [*self.segments, *([self.strata] if self.strata else []), *([self.day] if self.day else [])]

    @property
    def numbers(self) -> list[str]:
        """The columns that are."""
        named = [column for metric in (*self.success, *self.guardrails) for column in metric.columns]
        return list(dict.fromkeys([*named, *self.covariates]))


@dataclass(frozen=True, kw_only=True)
class Line:
    """A metric's effect in one treatment, for all users, a day or a segment."""

    metric: str
    role: str
    arm: str
    where: str
    effect: Effect
    adjusted_p: float | None
    decision: str
    margin: float | None = None
    bound: float | None = None
    explained: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Everything that is said. With a sample ratio that mismatches nothing else is."""

    users: Mapping[str, int]
    crossed: int
    notes: tuple[str, ...] = ()
    sample_ratio_p: float
    level: float
    lines: tuple[Line, ...] = ()
    days: tuple[Line, ...] = ()
    segments: tuple[Line, ...] = ()

    @property
    def mismatched(self) -> bool:
        """Whether the arms' sizes contradict the plan."""
        return self.sample_ratio_p < SRM_ALPHA


def judge(rows: Rows, settings: Settings) -> Judged:
    """The whole analysis."""
    users = by_user(rows, settings.covariates)
    counts = np.bincount(users.arms, minlength=len(rows.arm_names))
    if len(counts) < 2 or counts.min() < 2:
        raise DataError(f"every arm needs at least 2 users: {dict(zip(rows.arm_names, map(int, counts), strict=True))}")
    shares = settings.shares or (1.0,) * len(counts)
    if len(shares) != len(counts):
        raise DataError(f"{len(counts)} arms are in the data, {len(shares)} shares were given")
    _check_crossed(rows.crossed, int(counts.sum()), settings.crossed_limit)
    level = _level(settings, len(counts))
    found = Judged(
        users=dict(zip(rows.arm_names, map(int, counts), strict=True)), crossed=rows.crossed,
        notes=rows.notes, sample_ratio_p=sample_ratio([int(count) for count in counts], shares), level=level,
    )  # fmt: skip
    if found.mismatched:
        return found
    lines = [*_success(rows, users, settings, level), *_guardrails(rows, users, settings)]
    return replace(found, lines=tuple(lines), days=_days(rows, settings, level),
                   segments=_segments(rows, users, settings, level))  # fmt: skip


def _check_crossed(crossed: int, kept: int, limit: float) -> None:
    """Few users in two arms may be left out; of many it is a choice who stays."""
    if crossed > limit * (crossed + kept):
        raise DataError(
            f"{crossed:,} of {crossed + kept:,} users were in two arms, more than {100 * limit:g} %: leaving them out "
            "would choose who stays; find out why, or say --crossed bucket (of a split) or a higher --crossed-limit"
        )


def _level(settings: Settings, arms: int) -> float:
    """The two-sided error at which a success metric is judged now: α, or at a look what its bound allows."""
    if not settings.fractions:
        return settings.alpha
    each = settings.alpha / (max(1, len(settings.success)) * (arms - 1))
    return 2 * nominal_so_far(settings.fractions, settings.looks, each, settings.spending)


def _effect(users: Users, metric: Metric, settings: Settings, arm: int, level: float) -> tuple[Effect, float]:
    """Treatment `arm` against the control, adjusted by covariates and strata, and what the covariates explain."""
    control, treatment = users.arms == 0, users.arms == arm
    values = [_contributions(users, metric, chosen) for chosen in (control, treatment)]
    explained = 0.0
    if settings.covariates:
        before = (users.covariates[control], users.covariates[treatment])
        first, second, explained = cuped(values[0], values[1], *before, settings.theta)
        values = [first, second]
    parts = [_part(users, each, chosen, settings) for each, chosen in zip(values, (control, treatment), strict=True)]
    return compare(parts[0], parts[1], level, settings.normal), explained


def _contributions(users: Users, metric: Metric, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """A user's contribution to a mean is the value itself; to a ratio see `of_ratio`."""
    numerators = users.sums[metric.numerator][chosen]
    if metric.denominator is None:
        return numerators
    return of_ratio(numerators, users.sums[metric.denominator][chosen])


def _part(users: Users, values: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_], settings: Settings) -> Part:
    if settings.strata is None:
        return part(values)
    _, codes, counts = np.unique(users.words[settings.strata], return_inverse=True, return_counts=True)
    return stratified(values, codes[chosen].astype(np.intp), counts / counts.sum())


def _success(rows: Rows, users: Users, settings: Settings, level: float) -> list[Line]:
    asked = [(metric, arm) for metric in settings.success for arm in range(1, len(rows.arm_names))]
    effects = [_effect(users, metric, settings, arm, level) for metric, arm in asked]
    adjusted = holm([effect.p for effect, _ in effects])
    lines = []
    for (metric, arm), (effect, explained), p in zip(asked, effects, adjusted, strict=True):
        shown = effect.p <= level if settings.fractions else p <= settings.alpha
        good = (effect.absolute > 0) == (metric.harm == "lower")
        lines.append(
            Line(metric=metric.name, role="success", arm=rows.arm_names[arm], where="all", effect=effect,
                 adjusted_p=None if settings.fractions else p, decision=(WINS if good else LOSES) if shown else OPEN,
                 explained=explained)
        )  # fmt: skip
    return lines


def _guardrails(rows: Rows, users: Users, settings: Settings) -> list[Line]:
    lines = []
    for metric in settings.guardrails:
        for arm in range(1, len(rows.arm_names)):
            effect, explained = _effect(users, metric, settings, arm, 2 * settings.guardrail_alpha)
            margin, worst, least = _harm(effect, metric, settings.guardrail_alpha)
            decision = PASSES if worst < margin else HARM if least > 0 else OPEN
            lines.append(
                Line(metric=metric.name, role="guardrail", arm=rows.arm_names[arm], where="all", effect=effect,
                     adjusted_p=None, decision=decision, margin=margin, bound=worst, explained=explained)
            )  # fmt: skip
    return lines


def _harm(effect: Effect, metric: Metric, alpha: float) -> tuple[float, float, float]:
    """The margin, and the upper and the lower limit of the harm, each with a one-sided error of `alpha`.

    A relative margin is known no better than the control's value, so the upper limit is that of the harm beyond it:
    treatment − (1 ± margin) · control (Hauschke, Kieser, Diletti and Burke 1999, Statistics in Medicine 18, 93–105).
    """
    sign = 1.0 if metric.harm == "higher" else -1.0
    low, high = effect.one_sided(alpha)
    worst, least = (high, low) if sign > 0 else (-low, -high)
    margin = metric.margin or 0.0
    if metric.relative:
        share = 1 + sign * math.copysign(margin, effect.control)
        low, high = effect.against(share, alpha)
        margin *= abs(effect.control)
        worst = margin + (high if sign > 0 else -low)
    return margin, worst, least


def _days(rows: Rows, settings: Settings, level: float) -> tuple[Line, ...]:
    """Each day by itself, of the users who came then; descriptive, so without a decision."""
    if settings.day is None:
        return ()
    found: list[Line] = []
    for day in np.unique(rows.words[settings.day]):
        if day == NO_ROW:
            continue
        users = by_user(rows, settings.covariates, rows.words[settings.day] == day)
        found += _described(rows, users, replace(settings, strata=None), level, str(day))
    return tuple(found)


def _segments(rows: Rows, users: Users, settings: Settings, level: float) -> tuple[Line, ...]:
    found: list[Line] = []
    for segment in settings.segments:
        for value in np.unique(users.words[segment]):
            chosen = users.words[segment] == value
            part_of = Users(
                users.arms[chosen], {name: each[chosen] for name, each in users.sums.items()},
                users.covariates[chosen], {name: each[chosen] for name, each in users.words.items()},
            )  # fmt: skip
            found += _described(rows, part_of, replace(settings, strata=None), level, f"{segment}={value}")
    adjusted = benjamini_hochberg([line.effect.p for line in found])
    return tuple(replace(line, adjusted_p=p) for line, p in zip(found, adjusted, strict=True))


def _described(rows: Rows, users: Users, settings: Settings, level: float, where: str) -> Sequence[Line]:
    """The success metrics where both arms have users; elsewhere nothing can be said."""
    lines = []
    for metric in settings.success:
        for arm in range(1, len(rows.arm_names)):
            try:
                effect, explained = _effect(users, metric, settings, arm, level)
            except DataError:
                continue
            lines.append(
                Line(metric=metric.name, role="success", arm=rows.arm_names[arm], where=where, effect=effect,
                     adjusted_p=None, decision="", explained=explained)
            )  # fmt: skip
    return lines
