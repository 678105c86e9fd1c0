"""Offline evaluation: full ranking, seen items removed, ties by id; the metrics are those of `analysis.lists`.

Users are *warm* when they have a positive before the cut, else cold; cold users get the popularity list, as in serving.
Relevant are the items rated 4 or better in the evaluated period, never-seen items included: a model that cannot know
them misses them. The interval of a lift is a paired bootstrap over users. Next module: `training.experiment`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from analysis.lists import average_precision, coverage, head_mask, long_tail_share, ndcg, recall
from training.interactions import Interactions

K: Final = 10
K_RECALL: Final = 20
BOOTSTRAP_DRAWS: Final = 10_000
BATCH_USERS: Final = 512


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Means over `users`; coverage is of the whole set of lists, over the recommendable items."""

    users: int
    map_at_10: float
    ndcg_at_10: float
    recall_at_20: float
    coverage_at_10: float
    long_tail_share_at_10: float


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """Relative difference in MAP@10 to `over`, with its 95 % paired-bootstrap interval."""

    over: str
    relative: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Task:
    """What is asked: users of the later period, what they had seen, what was relevant for them.

    `relevant` maps a user row to item rows; `seen` likewise. `candidates` are the items with an interaction before the
    cut; `tail` those of them outside the head (`head_mask`) of the positives before the cut. `warm` users have a
    positive before the cut.
    """

    relevant: dict[int, frozenset[int]]
    seen: dict[int, NDArray[np.int32]]
    candidates: NDArray[np.bool_]
    tail: frozenset[int]
    warm: frozenset[int]

    @staticmethod
    def of(before: Interactions, later: Interactions) -> Task:
        """The task of predicting the positives of `later` from `before`; both share their id lists."""
        items = len(before.item_ids)
        counts = np.bincount(before.positives.item, minlength=items)
        candidates = np.bincount(before.item, minlength=items) > 0
        relevant = {user: frozenset(map(int, rows)) for user, rows in _by_user(later.positives).items()}
        return Task(
            relevant=relevant,
            seen=_by_user(before),
            candidates=candidates,
            tail=frozenset(map(int, np.flatnonzero(~head_mask(counts) & candidates))),
            warm=frozenset(map(int, np.unique(before.positives.user))) & relevant.keys(),
        )


@dataclass(frozen=True)
class Ranking:
    """The lists of one model: user row → item rows, best first, `K_RECALL` long."""

    lists: dict[int, list[int]]

    def average_precisions(self, task: Task, users: list[int]) -> NDArray[np.float64]:
        """AP@10 of each of `users`."""
        return np.array([average_precision(self.lists[user], task.relevant[user], K) for user in users])

    def metrics(self, task: Task, users: list[int]) -> Metrics:
        """All metrics over `users`."""
        lists = [self.lists[user] for user in users]
        wanted = [task.relevant[user] for user in users]
        pairs = list(zip(lists, wanted, strict=True))
        return Metrics(
            users=len(users),
            map_at_10=_mean(average_precision(ranked, relevant, K) for ranked, relevant in pairs),
            ndcg_at_10=_mean(ndcg(ranked, relevant, K) for ranked, relevant in pairs),
            recall_at_20=_mean(recall(ranked, relevant, K_RECALL) for ranked, relevant in pairs),
            coverage_at_10=coverage(lists, int(task.candidates.sum()), K),
            long_tail_share_at_10=_mean(long_tail_share(ranked, task.tail, K) for ranked in lists),
        )


def rank_by_popularity(task: Task, scores: NDArray[np.float64], users: list[int]) -> Ranking:
    """The same scores for everybody, minus what each has seen."""
    return Ranking({user: _top(scores, task, user) for user in users})


def rank_by_factors(
    task: Task,
    user_vectors: NDArray[np.float32],
    item_vectors: NDArray[np.float32],
    fallback: NDArray[np.float64],
    users: list[int],
) -> Ranking:
    """Inner products for warm users; cold users get the `fallback` scores, as the service does."""
    lists = {user: _top(fallback, task, user) for user in users if user not in task.warm}
    warm = [user for user in users if user in task.warm]
    for begin in range(0, len(warm), BATCH_USERS):
        batch = warm[begin : begin + BATCH_USERS]
        for user, scores in zip(batch, user_vectors[batch] @ item_vectors.T, strict=True):
            lists[user] = _top(scores, task, user)
    return Ranking(lists)


def lift(model: NDArray[np.float64], baseline: NDArray[np.float64], over: str, seed: int) -> Lift:
    """mean(model) / mean(baseline) − 1 over the same users, with a percentile bootstrap that resamples users.

    Both arrays have shape (users,). `ValueError` when the baseline is 0 everywhere.
    """
    if not baseline.any():
        raise ValueError(f"{over} scores 0 for every user: there is no lift over it")
    rng = np.random.default_rng(seed)
    ratios = np.empty(BOOTSTRAP_DRAWS)
    for draw in range(BOOTSTRAP_DRAWS):
        chosen = rng.integers(0, len(model), len(model))
        ratios[draw] = model[chosen].sum() / max(baseline[chosen].sum(), np.finfo(float).tiny)
    lower, upper = np.quantile(ratios, [0.025, 0.975]) - 1
    return Lift(over=over, relative=float(model.mean() / baseline.mean() - 1), lower=float(lower), upper=float(upper))


def best_of(average_precisions: Mapping[str, NDArray[np.float64]]) -> str:
    """The name with the highest mean."""
    return max(average_precisions, key=lambda name: float(average_precisions[name].mean()))


def _top(scores: NDArray[np.floating], task: Task, user: int) -> list[int]:
    """The best `K_RECALL` candidates that `user` has not seen; equal scores in the order of their ids."""
    masked = np.where(task.candidates, scores, -np.inf)
    if user in task.seen:
        masked[task.seen[user]] = -np.inf
    order = np.argsort(-masked, kind="stable")[:K_RECALL]
    return [int(item) for item in order if masked[item] > -np.inf]


def _by_user(interactions: Interactions) -> dict[int, NDArray[np.int32]]:
    order = np.argsort(interactions.user, kind="stable")
    users, starts = np.unique(interactions.user[order], return_index=True)
    return {int(user): rows for user, rows in zip(users, np.split(interactions.item[order], starts[1:]), strict=True)}


def _mean(values: object) -> float:
    return float(np.mean(np.fromiter(values, dtype=np.float64)))  # type: ignore[call-overload]
