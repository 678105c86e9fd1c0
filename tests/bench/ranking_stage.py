"""One moment of `tests.bench.ranking_pareto`: a bundle, who asks it, and what one combination of weights gives them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.lists import rarefied_coverage
from bentos.bundle import load_bundle
from bentos.fallback import Fallback
from bentos.ranking import Ranker
from bentos.ranking_settings import RankingSettings
from bentos.retrieval import search
from training.data_set import DataSet
from training.evaluate import RAREFIED, PerUser
from training.experiment import read_experiment
from training.export import export_bundle
from training.interactions import Interactions
from training.model import fit_model
from training.rolling import clustered_error
from training.task import Ranking, Task

K: Final = 10
SEED: Final = 1
KNOWN: Final = 2_000
"""Users with a vector whose lists coverage is drawn from, at each moment."""
CHAMPION: Final = Path("training/configs/champion.toml")

Candidates = tuple[NDArray[np.int64], NDArray[np.floating]]


@dataclass(frozen=True)
class Stage:
    """One bundle and who asks it. Rows of candidates are the bundle's; `row_of` makes them the task's."""

    task: Task
    cut_us: int
    catalogue: pa.Table
    row_of: NDArray[np.int64]
    age: NDArray[np.float64]
    """Years from an item's release to the cut, in the task's rows; nan when unknown."""
    warm: dict[int, Candidates]
    """Users of the window with a vector."""
    cold: dict[int, Candidates]
    """Users of the window without: what is popular."""
    known: list[Candidates]
    """Users with a vector, drawn at random, whether they come or not."""

    @staticmethod
    def of(data: DataSet, before: Interactions, later: Interactions, cut_us: int, threads: int) -> Stage:
        """Fit on `before`, and everything that a sweep does not change."""
        experiment = read_experiment(CHAMPION)
        fitted = fit_model(before, data.movies, experiment, threads)
        with tempfile.TemporaryDirectory() as directory:
            export_bundle(Path(directory) / "b", experiment, fitted, before, data.movies, cut_us, {})
            bundle = load_bundle(Path(directory) / "b")
            vectors = dict(zip(bundle.user_ids, np.array(bundle.user_vectors), strict=True))
        row_of = {item: row for row, item in enumerate(before.item_ids)}
        task = Task.of(before, later, data.movies)
        rows = np.array([row_of[item] for item in bundle.item_ids])
        bundle_row = np.full(len(before.item_ids), -1)
        bundle_row[rows] = np.arange(len(rows))
        years = np.array([data.movies[item].year or np.nan for item in before.item_ids])
        fallback, depth = Fallback(bundle), RankingSettings().candidates

        def seen(user: int) -> frozenset[int]:
            return frozenset(bundle_row[task.seen.get(user, np.empty(0, np.int32))].tolist())

        def candidates(user: int) -> Candidates:
            return search(bundle.index, vectors[before.user_ids[user]], depth, seen(user))

        served = sorted(task.relevant)
        users = np.unique(before.positives.user)
        drawn = np.random.default_rng(SEED).choice(users, min(KNOWN, len(users)), replace=False)
        return Stage(
            task=task,
            cut_us=cut_us,
            catalogue=bundle.catalogue,
            row_of=rows,
            age=1970 + cut_us / 1e6 / 86_400 / 365.2425 - years,
            warm={user: candidates(user) for user in served if user in task.warm},
            cold={user: fallback.popular(depth, seen(user))[:2] for user in served if user not in task.warm},
            known=[candidates(int(user)) for user in drawn],
        )

    def lists(self, settings: RankingSettings, many: Sequence[Candidates], tail: bool) -> list[list[int]]:
        """The lists of `many`, as the service ranks them, in the task's rows."""
        ranker = Ranker(settings, self.catalogue)
        return [self.row_of[rows[ranker.order(rows, scores, K, self.cut_us, tail)]].tolist() for rows, scores in many]


@dataclass(frozen=True)
class Row:
    """What one combination gives: arrays of shape (users × origins,), else means over the origins."""

    settings: RankingSettings
    user: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    cold_precision: float
    coverage: float
    coverage_of_500: float
    served_coverage: float
    """Of all users of the window, those without a vector too."""
    diversity: float
    long_tail: float
    age: float

    @property
    def map_at_10(self) -> float:
        return float(self.average_precision.mean())

    def change(self, base: Row) -> tuple[float, float]:
        """Relative difference in MAP@10 to `base`, and half of its 95 % interval, clustered by user."""
        difference = self.average_precision - base.average_precision
        error = clustered_error(self.user, difference)
        return float(difference.mean()) / base.map_at_10, 1.96 * error / base.map_at_10

    def surely(self, base: Row) -> float:
        """The lower end of that interval."""
        change, half = self.change(base)
        return change - half


def measured(stages: Sequence[Stage], settings: RankingSettings, lists: int) -> Row:
    """One combination at every origin; coverage for so many `lists`."""
    users: list[int] = []
    parts: list[PerUser] = []
    cold, coverages, of_500, served, ages = [], [], [], [], []
    for stage in stages:
        task, recommendable = stage.task, int(stage.task.candidates.sum())
        warm = dict(zip(stage.warm, stage.lists(settings, list(stage.warm.values()), True), strict=True))
        rest = dict(zip(stage.cold, stage.lists(settings, list(stage.cold.values()), False), strict=True))
        known = stage.lists(settings, stage.known, True)
        users += list(warm)
        parts.append(PerUser.of(Ranking(warm), task, list(warm)))
        cold += PerUser.of(Ranking(rest), task, list(rest)).average_precision.tolist() if rest else []
        coverages.append(rarefied_coverage(known, recommendable, K, min(lists, len(known))))
        of_500.append(rarefied_coverage(known, recommendable, K, RAREFIED))
        served.append(len({item for each in (warm | rest).values() for item in each}) / recommendable)
        ages += [float(np.nanmean(stage.age[each])) for each in warm.values()]
    return Row(
        settings=settings,
        user=np.array(users),
        average_precision=np.concatenate([each.average_precision for each in parts]),
        cold_precision=float(np.mean(cold)) if cold else float("nan"),
        coverage=float(np.mean(coverages)),
        coverage_of_500=float(np.mean(of_500)),
        served_coverage=float(np.mean(served)),
        diversity=float(np.concatenate([each.diversity for each in parts]).mean()),
        long_tail=float(np.concatenate([each.long_tail_share for each in parts]).mean()),
        age=float(np.mean(ages)),
    )
