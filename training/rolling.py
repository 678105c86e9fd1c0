"""Several moments in the past, each with what came before it and a window after it: validation in the plural.

The single slice before the test period does not look like it (three of four of its ratings are of new users; research
note §2b-bis). Windows of several origins are pooled, a user counting once per origin, and the standard error is
clustered by user. Nothing at or after the test period is touched. Next module: `training.tuning`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.errors import ConfigurationError
from training.evaluate import average_precisions
from training.interactions import POSITIVE, Interactions
from training.task import Ranking, Task

FIRST: Final = 0.5
"""Quantile of time of the first origin, among the ratings before the test period."""
LEAST_ORIGINS: Final = 4


@dataclass(frozen=True)
class Origin:
    """One moment: what a model may see, the window it is asked about, and the moment itself."""

    before: Interactions
    window: Interactions
    cut_us: int


def origins(before_test: Interactions, count: int) -> list[Origin]:
    """`count` origins at equal steps of the quantiles of time from `FIRST` on; each window ends at the next origin."""
    if count < LEAST_ORIGINS:
        raise ConfigurationError(f"{count} origins: at least {LEAST_ORIGINS} are needed to tell a setting from luck")
    time = before_test.timestamp_us
    cuts = [int(np.quantile(time, each, method="higher")) for each in np.linspace(FIRST, 1, count + 1)[:-1]]
    if len(set(cuts)) < count:
        raise ConfigurationError(f"{count} origins: the ratings have too few different times for so many")
    ends = [*cuts[1:], int(time.max()) + 1]
    return [
        Origin(before_test.where(time < cut), before_test.where((time >= cut) & (time < end)), cut)
        for cut, end in zip(cuts, ends, strict=True)
    ]


@dataclass(frozen=True)
class Pooled:
    """AP@10 of every warm user of every origin: arrays of shape (rows,), `user` being rows of the whole data."""

    user: NDArray[np.int64]
    average_precision: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Pooled MAP@10."""
        return float(self.average_precision.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean, clustered by user."""
        return clustered_error(self.user, self.average_precision)

    def difference(self, other: Pooled) -> tuple[float, float]:
        """Mean of self − other on the same rows, and its standard error, clustered by user."""
        difference = self.average_precision - other.average_precision
        return float(difference.mean()), clustered_error(self.user, difference)


def clustered_error(cluster: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Standard error of the mean of `values` when those of one cluster may depend on each other.

    √(G / (G − 1) Σ_g (Σ_{i∈g} (v_i − v̄))²) / n with G clusters (Liang and Zeger, Biometrika 73 (1986)); inf for G < 2.
    """
    _, group = np.unique(cluster, return_inverse=True)
    groups = int(group.max()) + 1
    if groups < 2:
        return float("inf")
    sums = np.bincount(group, values - values.mean())
    return float(np.sqrt(groups / (groups - 1) * (sums**2).sum()) / len(values))


@dataclass(frozen=True)
class Asked:
    """An origin with its task and its warm users, ascending: made once, for every trial asks the same."""

    origin: Origin
    task: Task
    warm: list[int]

    @staticmethod
    def at(origin: Origin, at_least: float = POSITIVE) -> Asked:
        """What is asked at `origin`; relevant is what has `at_least` stars."""
        task = Task.of(origin.before, origin.window, at_least=at_least)
        return Asked(origin, task, sorted(task.warm))


def pooled(many: list[Asked], rank: Callable[[Asked], Ranking]) -> Pooled:
    """Score `rank` at every origin on its warm users."""
    precisions = [average_precisions(rank(asked), asked.task, asked.warm) for asked in many]
    return Pooled(np.concatenate([np.array(asked.warm, np.int64) for asked in many]), np.concatenate(precisions))
