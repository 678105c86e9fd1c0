"""What a model is given and what it gives back, as two files: the same for our models and for those of other libraries.

numpy only, for both environments read it. The answers that are asked for are in no file: a model cannot peek, and no
model computes a metric. Next module: `tests.bench.peers.fit`, which reads the one and writes the other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from training.interactions import Interactions

NOTHING = -1
"""Fills a list that is shorter than the others."""


@dataclass(frozen=True)
class Split:
    """Ratings before a cut, in rows of the `users` and `items` that occur in them, and the rows of who is asked about.

    `user`, `item` int32 and `rating` float32 have shape (ratings,); `asked` int64, ascending. Items are in the order of
    their ids; all of them are candidates but those that a user has rated.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32]
    asked: NDArray[np.int64]
    users: int
    items: int

    def write(self, path: Path) -> None:
        """Write to `path`, an .npz."""
        np.savez(path, **asdict(self))

    @staticmethod
    def read(path: Path) -> Split:
        """What `write` wrote."""
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("user", "item", "rating", "asked")}
            return Split(**arrays, users=int(found["users"]), items=int(found["items"]))

    def seen_by(self) -> list[NDArray[np.int32]]:
        """The items that each user rated."""
        order = np.argsort(self.user, kind="stable")
        ends = np.cumsum(np.bincount(self.user, minlength=self.users))[:-1]
        return np.split(self.item[order], ends)


@dataclass(frozen=True)
class Rows:
    """Where the rows of a `Split` stand in the whole data: users that are asked about, and items."""

    asked: list[int]
    items: NDArray[np.int64]

    def lists(self, answered: NDArray[np.int32]) -> dict[int, list[int]]:
        """User row → item rows of the whole data, from lists of shape (asked, length)."""
        return {
            user: [int(self.items[item]) for item in ranked if item != NOTHING]
            for user, ranked in zip(self.asked, answered, strict=True)
        }


def split_of(before: Interactions, asked: list[int]) -> tuple[Split, Rows]:
    """The split file of `before` for the users `asked` (rows of the whole data, ascending), and the way back."""
    known, data = before.compact()
    rows = np.searchsorted(known.users, asked)
    if not np.array_equal(known.users[rows], asked):
        raise ValueError("only users with a rating before the cut can be asked about")
    split = Split(data.user, data.item, data.rating, rows, len(known.users), len(known.items))
    return split, Rows(asked, known.items)
