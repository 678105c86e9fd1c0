"""What each rung of the fallback chain is worth: `python -m tests.bench.fallback_rungs`.

At rolling origins before the test period the champion is fitted, exported and loaded as the service does it. Then every
request of the window is asked of several rungs, with the facts before the origin and the events given since, up to the
request: the rungs are those of `bentos`. Relevant is what the user likes from then on in the window. A user counts
once per origin (the mean over the requests); differences are paired, errors clustered by user.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.lists import average_precision
from bentos.bundle import load_bundle
from bentos.fallback import Fallback
from bentos.fold_in import FoldIn
from bentos.history import History
from bentos.retrieval import most_popular, search
from training.data_set import DataSet
from training.experiment import read_experiment
from training.export import export_bundle, requests_of
from training.interactions import POSITIVE
from training.model import fit_model
from training.movielens import ML_1M
from training.rolling import Origin, clustered_error, origins
from training.settings import TrainingSettings

ORIGINS = 5
K = 10
SEED = 1
CHAMPION = Path("training/configs/champion.toml")
CAPS = (50, 200)
"""Events kept per user."""
THINNED = (1_000, 10_000, 30_000)
"""Positives that are left of the last 30 days."""
POSITIVES = ((1, 1), (2, 2), (3, 6), (7, 25), (26, 50), (51, 100), (101, 10_000))
NEW = ((1, 10), (11, 50), (51, 10_000))

Lists = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Asked:
    """One request: who, what was known before the origin and since, and AP@10 by rung."""

    user: int
    origin: int
    before: int
    new: int
    positives: int
    scored: dict[str, float]


class Rungs:
    """The rungs of one bundle."""

    def __init__(self, data: DataSet, origin: Origin, threads: int) -> None:
        experiment = read_experiment(CHAMPION)
        fitted = fit_model(origin.before, data.movies, experiment, threads)
        with tempfile.TemporaryDirectory() as directory:
            export_bundle(Path(directory) / "b", experiment, fitted, origin.before, data.movies, origin.cut_us, {})
            self.bundle = bundle = load_bundle(Path(directory) / "b")
            row_of = {item: row for row, item in enumerate(bundle.item_ids)}
            self.row_of = np.array([row_of.get(item, -1) for item in origin.before.item_ids])
            last = bundle.catalogue.column("last_interaction_us").to_numpy()
            assert bundle.fold_in is not None
            self.solver = FoldIn(bundle.fold_in, np.array(bundle.item_vectors), last > 0)
            vectors = np.array(bundle.user_vectors)
        self.vectors = dict(zip(bundle.user_ids, vectors, strict=True))
        self.fallback = Fallback(bundle)

    def known(self, items: NDArray[np.int32], ratings: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray]:
        rows = self.row_of[items]
        return rows[rows >= 0], ratings[rows >= 0].astype(np.float64)

    def lists(self, user_id: str, rows: NDArray[np.int64], ratings: NDArray[np.float64]) -> Lists:
        """By rung the list of a user who rated `rows`, in the order of time."""
        history = History(frozenset(rows.tolist()), rows, ratings)
        found = {
            "all time": most_popular(self.bundle.popularity, K, history.seen),
            "30 days": most_popular(self.bundle.recent_popularity, K, history.seen),
        }
        if len(rows):
            found["profile"] = self.fallback.content(history, K).rows
        if user_id in self.vectors:
            found["vector"] = search(self.bundle.index, self.vectors[user_id], K, history.seen)[0]
        for name, cap in (("fold-in", len(rows)), *((f"fold-in of {cap}", cap) for cap in CAPS)):
            solved = self.solver.solve(rows[-cap:], ratings[-cap:]) if len(rows) else None
            if solved is not None:
                found[name] = search(self.bundle.index, solved, K, history.seen)[0]
        return found


def asked_at(data: DataSet, number: int, origin: Origin, threads: int) -> Iterator[Asked]:
    """Every request of the window that something relevant follows."""
    rungs = Rungs(data, origin, threads)
    earlier, window = _by_user(origin.before), _by_user(origin.window)
    user_of = {user: row for row, user in enumerate(origin.before.user_ids)}
    for request in requests_of(origin.window):
        user = user_of[request.user_id]
        rated, nothing = window[user], np.empty(0, np.int64)
        until = np.searchsorted(origin.window.timestamp_us[rated], request.event_time_us)
        past, future = rated[:until], rated[until:]
        liked = future[origin.window.rating[future] >= POSITIVE]
        if not len(liked):
            continue
        old = earlier.get(user, nothing)
        items = np.concatenate([origin.before.item[old], origin.window.item[past]])
        ratings = np.concatenate([origin.before.rating[old], origin.window.rating[past]])
        wanted = rungs.row_of[origin.window.item[liked]]
        # An item that the bundle does not have is relevant too: no rung can find it.
        relevant = frozenset(np.where(wanted >= 0, wanted, -1 - origin.window.item[liked]).tolist())
        lists = rungs.lists(request.user_id, *rungs.known(items, ratings))
        scored = {name: average_precision(rows.tolist(), relevant, K) for name, rows in lists.items()}
        yield Asked(user, number, len(old), len(past), int((ratings >= POSITIVE).sum()), scored)


def _by_user(interactions: object) -> dict[int, NDArray[np.int64]]:
    """Rows of each user's ratings, in the order of time."""
    order = np.lexsort((interactions.timestamp_us, interactions.user))  # type: ignore[attr-defined]
    users, starts = np.unique(interactions.user[order], return_index=True)  # type: ignore[attr-defined]
    return {int(user): rows for user, rows in zip(users, np.split(order, starts[1:]), strict=True)}


def row(title: str, asked: Iterable[Asked], rungs: Sequence[str], base: str) -> str:
    """One line: MAP@10 of each rung over users × origins, and the difference to `base` with its standard error."""
    sums: dict[tuple[int, int], list[list[float]]] = {}
    for each in asked:
        if all(rung in each.scored for rung in (*rungs, base)):
            sums.setdefault((each.user, each.origin), []).append([each.scored[rung] for rung in (*rungs, base)])
    users = np.array([user for user, _ in sums])
    means = np.array([np.mean(values, axis=0) for values in sums.values()])
    cells = []
    for column, rung in enumerate(rungs):
        difference = means[:, column] - means[:, -1]
        told = "" if rung == base else f" ({difference.mean():+.4f} ± {clustered_error(users, difference):.4f})"
        cells.append(f"{means[:, column].mean():.4f}{told}")
    return f"| {title} | {len(users):,} | " + " | ".join(cells) + " |"


def table(
    title: str, rungs: Sequence[str], base: str, rows: Iterable[tuple[str, Callable[[Asked], bool]]], asked: list[Asked]
) -> None:
    """Print one table; a group of nobody is left out."""
    print(f"\n| {title} | users × origins | " + " | ".join(rungs) + " |\n" + "|---" * (len(rungs) + 2) + "|")
    for name, wanted in rows:
        chosen = [each for each in asked if wanted(each) and all(rung in each.scored for rung in (*rungs, base))]
        if chosen:
            print(row(name, chosen, rungs, base))


def thinned(many: list[Origin]) -> None:
    """Popularity of the last 30 days when fewer positives are known of them, for users never seen before."""
    rng, month = np.random.default_rng(SEED), 30 * 86_400_000_000
    losses: dict[str, list[tuple[int, float]]] = {}
    tenth: dict[str, list[int]] = {}
    for origin in many:
        liked = origin.before.liked(POSITIVE)
        recent = liked.where(origin.cut_us - liked.timestamp_us <= month)
        size = len(liked.item_ids)
        ever = np.bincount(liked.item, minlength=size)
        cold = set(np.unique(origin.window.user).tolist()) - set(np.unique(origin.before.user).tolist())
        later = origin.window.liked(POSITIVE)
        wanted: dict[int, set[int]] = {}
        for user, item in zip(later.user.tolist(), later.item.tolist(), strict=True):
            if user in cold:
                wanted.setdefault(user, set()).add(item)
        for count in (*THINNED, len(recent)):
            if count > len(recent):
                continue
            name = "all" if count == len(recent) else f"{count:,}"
            counts = np.bincount(rng.choice(recent.item, count, replace=False), minlength=size)
            tenth.setdefault(name, []).append(int(np.sort(counts)[-10]))
            lists = [np.lexsort((-ever, -scores))[:K].tolist() for scores in (counts, ever)]
            for user, items in wanted.items():
                found, base = (average_precision(each, items, K) for each in lists)
                losses.setdefault(name, []).append((user, found - base))
    print("\n| positives of the last 30 days | the tenth item has | MAP@10 of new users, to all time |\n|---|---|---|")
    for name, values in losses.items():
        users, differences = np.array([user for user, _ in values]), np.array([each for _, each in values])
        told = f"{differences.mean():+.4f} ± {clustered_error(users, differences):.4f}"
        print(f"| {name} | {min(tenth[name])} to {max(tenth[name])} | {told} |")


def main() -> None:
    """Print the tables."""
    settings = TrainingSettings.load()
    data = DataSet.read(settings.data_dir / ML_1M.name, settings.data_dir, ML_1M.digest)
    many = origins(data.split.before_test, ORIGINS)
    thinned(many)
    asked = [each for number, at in enumerate(many) for each in asked_at(data, number, at, settings.torch_threads)]
    fresh = [each for each in asked if not each.before]
    table(
        "new users, first request", ("all time", "30 days"), "all time",
        [("all origins", lambda each: not each.new)]
        + [(f"origin {number + 1}", lambda each, number=number: not each.new and each.origin == number)
           for number in range(ORIGINS)],
        fresh,
    )  # fmt: skip
    table(
        "new users, events without a positive", ("all time", "30 days", "profile"), "all time",
        [("all origins", lambda each: bool(each.new) and not each.positives)], fresh,
    )  # fmt: skip
    table(
        "new users, positives so far", ("30 days", "profile", "fold-in", "fold-in of 50", "fold-in of 200"), "fold-in",
        [(f"{low}" if low == high else f"{low} to {high}" if high < 10_000 else f"{low} or more",
          lambda each, low=low, high=high: low <= each.positives <= high) for low, high in POSITIVES],
        fresh,
    )  # fmt: skip
    known = [each for each in asked if "vector" in each.scored and each.new]
    table(
        "users with a vector, events since", ("vector", "fold-in", "fold-in of 50", "fold-in of 200"), "vector",
        [(f"{low} to {high}" if high < 10_000 else f"{low} or more",
          lambda each, low=low, high=high: low <= each.new <= high) for low, high in NEW]
        + [(f"any; all of {cap} events or fewer", lambda each, cap=cap: each.before + each.new <= cap) for cap in CAPS]
        + [(f"any; more than {cap} in all", lambda each, cap=cap: each.before + each.new > cap) for cap in CAPS],
        known,
    )  # fmt: skip


if __name__ == "__main__":
    main()
