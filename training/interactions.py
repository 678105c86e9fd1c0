"""One typed table of what users did: integer rows into sorted string ids, ratings, times in microseconds.

Next modules: `training.layouts` and `training.ratings`, which read it from files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

POSITIVE: Final = 4.0
"""A rating from here on is a positive, in training and as relevance in evaluation (research note §2b)."""


@dataclass(frozen=True)
class Interactions:
    """Ratings of users for items. `user` and `item` are rows into the id lists, which are sorted as strings.

    Arrays have shape (interactions,): user, item int32; rating float32, stars from 0.5 to 5 in halves; timestamp_us
    int64, UTC. `repeated` counts the lines of a file that were left out (`training.ratings`).
    """

    user_ids: list[str]
    item_ids: list[str]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32]
    timestamp_us: NDArray[np.int64]
    repeated: int = 0

    def __len__(self) -> int:
        return len(self.rating)

    def where(self, mask: NDArray[np.bool_]) -> Interactions:
        """The interactions that `mask` selects, with the same id lists."""
        return Interactions(
            self.user_ids, self.item_ids, self.user[mask], self.item[mask], self.rating[mask], self.timestamp_us[mask]
        )

    def naming(self, items: Iterable[str]) -> Interactions:
        """These interactions with id lists that name `items` besides."""
        item_ids = sorted({*self.item_ids, *items})
        row = {item: number for number, item in enumerate(item_ids)}
        moved = np.array([row[item] for item in self.item_ids], np.int32)
        return replace(self, item_ids=item_ids, item=moved[self.item])

    def compact(self) -> tuple[Known, Interactions]:
        """These interactions with only the ids that occur in them, and the rows that those had.

        A model is fitted on this: what only the future names must not change a sum, a count or a random draw.
        """
        known = self.known
        names = [self.user_ids[row] for row in known.users], [self.item_ids[row] for row in known.items]
        user = _places(known.users, len(self.user_ids))[self.user]
        item = _places(known.items, len(self.item_ids))[self.item]
        return known, Interactions(*names, user, item, self.rating, self.timestamp_us)

    @property
    def known(self) -> Known:
        """Who and what occurs."""
        return Known(*(np.flatnonzero(np.bincount(rows)) for rows in (self.user, self.item)))

    @property
    def positives(self) -> Interactions:
        """Those rated `POSITIVE` or better."""
        return self.liked(POSITIVE)

    def liked(self, at_least: float) -> Interactions:
        """Those rated `at_least` stars or better."""
        return self.where(self.rating >= at_least)


def _places(present: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    """For every one of `count` rows its place among the `present`; 0 for the others."""
    places = np.zeros(count, np.int32)
    places[present] = np.arange(len(present), dtype=np.int32)
    return places


@dataclass(frozen=True)
class Known:
    """Rows of the users and items that occur in some interactions; ascending."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]


@dataclass(frozen=True)
class Movie:
    """An item: title without the year, genres, year (None when the title has none)."""

    title: str
    genres: tuple[str, ...]
    year: int | None


def from_columns(
    users: NDArray[np.str_], items: NDArray[np.str_], rating: NDArray[np.number], timestamp_us: NDArray[np.int64]
) -> Interactions:
    """Interactions from columns of ids as strings; the id lists are those that occur, sorted."""
    user_ids, user = np.unique(users, return_inverse=True)
    item_ids, item = np.unique(items, return_inverse=True)
    return Interactions(
        [str(each) for each in user_ids],
        [str(each) for each in item_ids],
        user.astype(np.int32),
        item.astype(np.int32),
        rating.astype(np.float32),
        timestamp_us,
    )
