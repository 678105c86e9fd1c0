"""The hybrid on items that nobody has rated: `python -m tests.bench.cold_items`.

First the choice, on rolling origins before the test period: the ridge parameter on held-out items, the share w of the
factors on everything. Then once on the test period: a seeded tenth of the items loses all its ratings before the cut,
and the hybrid ranks them for the users of the test period against the popularity of their genres and against chance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.content import ContentSettings, genre_popularity, item_features
from training.evaluate import average_precisions, lift
from training.hybrid import Parts, best_weight, parts
from training.ials import IalsSettings, fit
from training.interactions import Interactions
from training.jobs import DataSet
from training.movielens import ML_1M
from training.rolling import origins
from training.settings import TrainingSettings
from training.task import Task, rank_by_factors, rank_by_popularity

SEED = 1
RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0)
WEIGHTS = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
IALS = IalsSettings()


def held_out(items: int) -> NDArray[np.bool_]:
    """A seeded tenth of the items."""
    mask = np.zeros(items, dtype=np.bool_)
    mask[np.random.default_rng(SEED).choice(items, items // 10, replace=False)] = True
    return mask


def halves(data: DataSet, before: Interactions, ridge: float, threads: int) -> Parts:
    """The halves of a hybrid fitted on `before`."""
    settings = ContentSettings(regularisation=ridge)
    features = item_features(before.item_ids, data.movies, [], settings.least_items)
    return parts(before, fit(before, IALS, threads), features, IALS, settings)


def precision(found: Parts, weight: float, task: Task) -> NDArray[np.float64]:
    """AP@10 of the warm users."""
    warm = sorted(task.warm)
    hybrid = found.weighted(weight)
    ranking = rank_by_factors(task, hybrid.users, hybrid.items, task.liked_by.astype(float), warm)
    return average_precisions(ranking, task, warm)


def cold_task(before: Interactions, later: Interactions, cold: NDArray[np.bool_], only_cold: bool) -> Task:
    """Predicting positives for cold items: among them alone, or with the whole catalogue as candidates."""
    task = Task.of(before, later.where(cold[later.item]))
    return replace(task, candidates=cold if only_cold else task.candidates | cold)


def main() -> None:
    """Print the two choices and the result as tables."""
    settings = TrainingSettings.load()
    data = DataSet.read(settings.data_dir / ML_1M.name, settings.data_dir, ML_1M.digest)
    cold = held_out(len(data.interactions.item_ids))
    many = origins(data.split.before_test, 5)
    ridge = choose_ridge(data, many[2:], cold, settings.torch_threads)
    weight = choose_weight(data, many[2:], ridge, settings.torch_threads)
    result(data, cold, ridge, weight, settings.torch_threads)


def choose_ridge(data: DataSet, many: list, cold: NDArray[np.bool_], threads: int) -> float:
    """By MAP@10 on held-out items, pooled over the origins."""
    means = []
    print("| ridge λ | MAP@10 of held-out items, three rolling origins |\n|---|---|")
    for ridge in RIDGES:
        pooled = []
        for origin in many:
            before = origin.before.where(~cold[origin.before.item])
            task = cold_task(before, origin.window, cold, only_cold=True)
            pooled.append(precision(halves(data, before, ridge, threads), 0.5, task))
        means.append(float(np.concatenate(pooled).mean()))
        print(f"| {ridge:g} | {means[-1]:.4f} |")
    return RIDGES[int(np.argmax(means))]


def choose_weight(data: DataSet, many: list, ridge: float, threads: int) -> float:
    """By MAP@10 on everything, pooled over the origins."""
    found = [(halves(data, each.before, ridge, threads), Task.of(each.before, each.window)) for each in many]
    means = [float(np.concatenate([precision(h, weight, task) for h, task in found]).mean()) for weight in WEIGHTS]
    print("\n| w, share of the factors | MAP@10 of all items, three rolling origins |\n|---|---|")
    for weight, mean in zip(WEIGHTS, means, strict=True):
        print(f"| {weight:g} | {mean:.4f} |")
    below_one = [(weight, mean) for weight, mean in zip(WEIGHTS, means, strict=True) if weight < 1]
    return best_weight(*zip(*below_one, strict=True))


def result(data: DataSet, cold: NDArray[np.bool_], ridge: float, weight: float, threads: int) -> None:
    """Once on the test period."""
    before = data.split.before_test.where(~cold[data.split.before_test.item])
    counts = np.bincount(before.positives.item, minlength=len(cold))
    genre = genre_popularity(before.item_ids, data.movies, counts)
    chance = np.random.default_rng(SEED).random(len(cold))
    found = halves(data, before, ridge, threads)
    print(f"\nTest period, λ = {ridge:g}, w = {weight:g}; {int(cold.sum())} held-out items.\n")
    print("| candidates | users | hybrid | genre popularity | chance | lift over genre popularity, 95 % |")
    print("|---|---|---|---|---|---|")
    for title, only_cold in (("held-out items", True), ("the whole catalogue", False)):
        task = cold_task(before, data.split.test, cold, only_cold)
        warm = sorted(task.warm)
        ours = precision(found, weight, task)
        theirs, random = (
            average_precisions(rank_by_popularity(task, scores, warm), task, warm) for scores in (genre, chance)
        )
        gained = lift(ours, theirs, "genre popularity", SEED) if theirs.any() else None
        told = f"{gained.relative:+.0%} [{gained.lower:+.0%}, {gained.upper:+.0%}]" if gained else "not defined"
        print(f"| {title} | {len(warm):,} | {ours.mean():.4f} | {theirs.mean():.4f} | {random.mean():.4f} | {told} |")


if __name__ == "__main__":
    main()
