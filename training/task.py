"""What offline evaluation asks: full ranking of the items known before the cut, seen ones removed, ties by id.

Users are *warm* when they have a positive before the cut, else cold; cold users get the popularity list, as in serving
those do of whom nothing is known. Relevant are the positives of the evaluated period, never-seen items included: a
model that cannot know them misses them. Next module: `training.evaluate`, which scores the lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.lists import head_mask
from bentos.scoring import scored
from training.interactions import POSITIVE, Interactions, Movie

LIST_LENGTH: Final = 20
"""Items that are ranked for a user: enough for every cut-off in use."""


@dataclass(frozen=True)
class Task:
    """What is asked: users of the later period, what they had seen, what was relevant for them.

    `relevant` maps a user row to item rows; `seen` likewise. `candidates` are the items with an interaction before the
    cut; `tail` all items outside the head (`head_mask`) of the positives before the cut, as in a bundle's catalogue.
    `warm` users have a positive before the cut. `liked_by` counts an item's positives before the cut, `users` those who
    gave any.
    """

    relevant: dict[int, frozenset[int]]
    seen: dict[int, NDArray[np.int32]]
    candidates: NDArray[np.bool_]
    tail: frozenset[int]
    warm: frozenset[int]
    liked_by: NDArray[np.int64]
    users: int
    genres: dict[int, frozenset[str]] = field(default_factory=dict)

    @staticmethod
    def of(
        before: Interactions,
        later: Interactions,
        movies: Mapping[str, Movie] | None = None,
        at_least: float = POSITIVE,
    ) -> Task:
        """Predicting the positives (`at_least` stars) of `later` from `before`; both share their id lists."""
        liked = before.liked(at_least)
        counts = np.bincount(liked.item, minlength=len(before.item_ids))
        candidates = np.bincount(before.item, minlength=len(before.item_ids)) > 0
        relevant = {user: frozenset(map(int, rows)) for user, rows in _by_user(later.liked(at_least)).items()}
        known = movies or {}
        warm = np.unique(liked.user)
        return Task(
            relevant=relevant,
            seen=_by_user(before),
            candidates=candidates,
            tail=frozenset(map(int, np.flatnonzero(~head_mask(counts)))),
            warm=frozenset(map(int, warm)) & relevant.keys(),
            liked_by=counts,
            users=len(warm),
            genres={row: frozenset(known[item].genres) for row, item in enumerate(before.item_ids) if item in known},
        )


@dataclass(frozen=True)
class Ranking:
    """The lists of one model: user row → item rows, best first, `LIST_LENGTH` long or all there is."""

    lists: dict[int, list[int]]


def rank_by_popularity(task: Task, scores: NDArray[np.float64], users: list[int]) -> Ranking:
    """The same scores for everybody, minus what each has seen: the order is made once, and equal scores are by id."""
    candidates = np.flatnonzero(task.candidates)
    order = candidates[np.argsort(-scores[candidates], kind="stable")]

    def unseen(user: int) -> list[int]:
        seen = task.seen.get(user, np.empty(0, np.int32))
        head = order[: LIST_LENGTH + len(seen)]
        return [int(item) for item in head[~np.isin(head, seen)][:LIST_LENGTH]]

    return Ranking({user: unseen(user) for user in users})


def rank_by_factors(
    task: Task,
    user_vectors: NDArray[np.float32],
    item_vectors: NDArray[np.float32],
    fallback: NDArray[np.float64],
    users: list[int],
) -> Ranking:
    """Inner products for users who have a vector; others get the `fallback` scores, as the service does.

    The scores are the service's own, bit for bit, so its lists are these (tests/integration/test_parity.py).
    """
    has = frozenset(np.flatnonzero(user_vectors.any(1)).tolist())
    lists = rank_by_popularity(task, fallback, [user for user in users if user not in has]).lists
    for user in users:
        if user in has:
            lists[user] = top(scored(item_vectors, user_vectors[user]), task, user)
    return Ranking(lists)


def top(scores: NDArray[np.floating], task: Task, user: int) -> list[int]:
    """The best `LIST_LENGTH` candidates that `user` has not seen; equal scores in the order of their ids."""
    masked = np.where(task.candidates, scores, -np.inf)
    if user in task.seen:
        masked[task.seen[user]] = -np.inf
    order = np.argsort(-masked, kind="stable")[:LIST_LENGTH]
    return [int(item) for item in order if masked[item] > -np.inf]


def _by_user(interactions: Interactions) -> dict[int, NDArray[np.int32]]:
    order = np.argsort(interactions.user, kind="stable")
    users, starts = np.unique(interactions.user[order], return_index=True)
    return {int(user): rows for user, rows in zip(users, np.split(interactions.item[order], starts[1:]), strict=True)}
