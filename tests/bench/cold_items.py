"""The hybrid on films that nobody has rated: `python -m tests.bench.cold_items`.

Each tenth of the films loses all its ratings in turn, and results are pooled over the tenths, so that no lucky tenth
decides. Two tasks: the held-out films alone as candidates, and the whole catalogue. For each, first on rolling
origins: which way to count is the best genre popularity, and what the hybrid of training/configs/hybrid.toml is worth
beside it. Then once on the test period, against that baseline, with all other ways beside it, and what knows more than
genres, or knows the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cold_start import PARTS, HeldOut, at_origins, parts_of, unpersonalised, without_ties
from training.content import content_vectors, item_features
from training.data_set import DataSet
from training.evaluate import average_precisions, lift
from training.experiment import Experiment, read_experiment
from training.genre_popularity import GENRE_POPULARITIES, genre_flags, genre_means
from training.interactions import Movie
from training.model import Fitted, fit_model
from training.movielens import ML_1M
from training.rolling import clustered_error, origins
from training.settings import TrainingSettings
from training.task import Ranking, Task, rank_by_popularity, top

HYBRID = Path(__file__).parents[2] / "training" / "configs" / "hybrid.toml"
CHANCE, CONTENT, USERS_GENRES = "chance", "content popularity (unpersonalised)", "user's genres × popularity"
ALONE, WHOLE = "held-out films alone", "the whole catalogue"
TASKS = (ALONE, WHOLE)
ORIGINS = 5
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """AP@10 by name, rows as in `user`; the share of the first ten places that cold films get, by name."""

    user: NDArray[np.int64]
    precisions: Mapping[str, Scores]
    shown: Mapping[str, float]

    def mean(self, name: str) -> float:
        return float(self.precisions[name].mean())

    def error(self, name: str) -> float:
        """Of the mean, clustered by user."""
        return clustered_error(self.user, self.precisions[name])

    def by_user(self, name: str) -> Scores:
        """Sums over the rows of each user: what a bootstrap over users resamples."""
        _, row = np.unique(self.user, return_inverse=True)
        return np.bincount(row, self.precisions[name])


def pooled(many: list[Found]) -> Found:
    """The rows of several parts and moments."""
    users = np.concatenate([each.user for each in many])
    weights = [len(each.user) for each in many]
    names = many[0].precisions
    return Found(
        users,
        {name: np.concatenate([each.precisions[name] for each in many]) for name in names},
        {name: float(np.average([each.shown[name] for each in many], weights=weights)) for name in names},
    )


class Bench:
    """One held-out part after the other."""

    def __init__(self) -> None:
        settings = TrainingSettings.load()
        self.data = DataSet.read(settings.data_dir / ML_1M.name, settings.data_dir, ML_1M.digest)
        self.threads = settings.torch_threads
        self.flags = genre_flags(self.data.interactions.item_ids, self.movies)
        self.experiment: Experiment = read_experiment(HYBRID)

    @property
    def movies(self) -> Mapping[str, Movie]:
        return self.data.movies

    def scores(self, held: HeldOut) -> dict[str, Scores]:
        """What each way makes of every film, the same for everybody; of rated films the positives they have."""
        counts = np.bincount(held.before.positives.item, minlength=len(held.cold)).astype(float)
        known = np.bincount(held.before.item, minlength=len(held.cold)) > 0
        ways = {name: GENRE_POPULARITIES[name](self.flags, counts, known) for name in GENRE_POPULARITIES}
        content = self.experiment.content
        assert content is not None
        features = item_features(held.before.item_ids, self.movies, [], content)
        told = content_vectors(features, counts[:, None].astype(np.float32), counts.astype(int), content.regularisation)
        ways[CONTENT] = told[:, 0].astype(float)
        ways[CHANCE] = np.zeros(len(counts))
        return {name: np.where(known, counts, each) for name, each in ways.items()}

    def users_genres(self, held: HeldOut, users: list[int]) -> dict[int, Scores]:
        """Σ over a film's genres: the share that the genre has of what the user liked × the genre's mean positives."""
        liked = held.before.positives
        counts = np.bincount(liked.item, minlength=len(held.cold)).astype(float)
        known = np.bincount(held.before.item, minlength=len(held.cold)) > 0
        means = genre_means(self.flags, counts, known)
        found = {}
        for user in users:
            profile = self.flags[liked.item[liked.user == user]].mean(0)
            found[user] = self.flags @ (profile * means)
        return found

    def part(self, held: HeldOut) -> list[Found]:
        """Everything on one part, for each of `TASKS`."""
        fitted = fit_model(held.before, self.movies, self.experiment, self.threads)
        scores = self.scores(held)
        return [self.found(held, task, fitted, scores) for task in (held.alone, held.whole)]

    def found(self, held: HeldOut, task: Task, fitted: Fitted, scores: dict[str, Scores]) -> Found:
        """AP@10 of everybody who can be asked."""
        users = sorted(task.warm)
        hybrid = fitted.rank(task, held.before.item_ids, task.liked_by.astype(float), users)
        personal = self.users_genres(held, users)
        rankings = {"hybrid": hybrid, USERS_GENRES: Ranking({user: top(personal[user], task, user) for user in users})}
        precisions = {name: average_precisions(ranking, task, users) for name, ranking in rankings.items()}
        for name, each in scores.items():
            precisions[name] = unpersonalised(each, task, users)
            rankings[name] = rank_by_popularity(task, without_ties(each, draws=1)[0], users)
        return Found(np.array(users), precisions, {name: share(each, held.cold) for name, each in rankings.items()})


def share(ranking: Ranking, cold: NDArray[np.bool_]) -> float:
    """Of the first ten places those that cold films have."""
    return float(np.mean([cold[items[:10]].mean() for items in ranking.lists.values()]))


def rolling(bench: Bench) -> dict[str, str]:
    """Print the tables on rolling origins; returns by task the best genre popularity."""
    many = at_origins(origins(bench.data.split.before_test, ORIGINS), PARTS)
    parts = [bench.part(held) for _, held in many]
    best = {}
    for title, each in zip(TASKS, zip(*parts, strict=True), strict=True):
        found = pooled(list(each))
        best[title] = max(GENRE_POPULARITIES, key=found.mean)
        rows = f"{len(found.user):,} rows of {people(found):,} users"
        print(f"\n{ORIGINS} rolling origins × {PARTS} tenths, candidates: {title}. {rows}.\n")
        print("| model | MAP@10 | ± SE | of ten places for held-out films |\n|---|---|---|---|")
        for name in ranked(found, title):
            mark = " (best genre popularity)" if name == best[title] else ""
            print(f"| {name}{mark} | {numbers(found, name)} |")
    return best


def result(bench: Bench, best: dict[str, str]) -> None:
    """Print the tables of the test period: each tenth once."""
    split = bench.data.split
    part = parts_of(len(bench.data.interactions.item_ids))
    held = [HeldOut.of(split.before_test, split.test, part == number) for number in range(PARTS)]
    parts = [bench.part(each) for each in held]
    for title, many in zip(TASKS, zip(*parts, strict=True), strict=True):
        found, baseline = pooled(list(many)), best[title]
        ahead = sum(each.mean("hybrid") > each.mean(baseline) for each in many)
        print(
            f"\nThe test period, candidates: {title}. {len(found.user):,} rows of {people(found):,} users; the hybrid "
            f"is ahead of {baseline!r}, chosen above, in {ahead} of {PARTS} tenths.\n"
        )
        print("| model | MAP@10 | ± SE | of ten places for held-out films | lift over the chosen baseline, 95 % |")
        print("|---|---|---|---|---|")
        for name in ranked(found, title):
            print(f"| {name} | {numbers(found, name)} | {told(found, name, baseline)} |")


def ranked(found: Found, title: str) -> list[str]:
    """The names, the best first. In the whole catalogue chance would be the popularity of the rated films."""
    names = [name for name in found.precisions if title == ALONE or name != CHANCE]
    return sorted(names, key=found.mean, reverse=True)


def numbers(found: Found, name: str) -> str:
    """Three cells of a table."""
    return f"{found.mean(name):.4f} | {found.error(name):.4f} | {10 * found.shown[name]:.2f}"


def people(found: Found) -> int:
    """How many users there are."""
    return len(np.unique(found.user))


def told(found: Found, name: str, best: str) -> str:
    """The lift with its interval by a bootstrap over users."""
    if name == best:
        return "the baseline"
    if not found.precisions[best].any():
        return "not defined: it has none"
    gained = lift(found.by_user(name), found.by_user(best), best, seed=1)
    return f"{gained.relative:+.0%} [{gained.lower:+.0%}, {gained.upper:+.0%}]"


def main() -> None:
    """Print the choice and the result as tables."""
    bench = Bench()
    result(bench, rolling(bench))


if __name__ == "__main__":
    main()
