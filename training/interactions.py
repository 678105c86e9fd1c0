"""One typed table of what users did: integer rows into sorted string ids, ratings, times in microseconds.

Next module: `training.split`, which cuts it at one moment for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
from numpy.typing import NDArray

from training.errors import DataError

POSITIVE: Final = 4
"""A rating from here on is a positive, in training and as relevance in evaluation (research note §2b)."""


@dataclass(frozen=True)
class Interactions:
    """Ratings of users for items. `user` and `item` are rows into the id lists, which are sorted as strings.

    Arrays have shape (interactions,): user, item int32; rating int8 (1..5); timestamp_us int64, UTC.
    """

    user_ids: list[str]
    item_ids: list[str]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.int8]
    timestamp_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rating)

    def where(self, mask: NDArray[np.bool_]) -> Interactions:
        """The interactions that `mask` selects, with the same id lists."""
        return Interactions(
            self.user_ids, self.item_ids, self.user[mask], self.item[mask], self.rating[mask], self.timestamp_us[mask]
        )

    def compact(self) -> tuple[Known, Interactions]:
        """These interactions with only the ids that occur in them, and the rows that those had.

        A model is fitted on this: what only the future names must not change a sum, a count or a random draw.
        """
        users, user = np.unique(self.user, return_inverse=True)
        items, item = np.unique(self.item, return_inverse=True)
        names = [self.user_ids[row] for row in users], [self.item_ids[row] for row in items]
        compact = Interactions(*names, user.astype(np.int32), item.astype(np.int32), self.rating, self.timestamp_us)
        return Known(users.astype(np.int64), items.astype(np.int64)), compact

    @property
    def positives(self) -> Interactions:
        """Those rated `POSITIVE` or better."""
        return self.where(self.rating >= POSITIVE)


@dataclass(frozen=True)
class Known:
    """Rows of the users and items that occur in some interactions; ascending."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]


@dataclass(frozen=True)
class Movie:
    """One line of movies.dat: title without the year, genres, year (None when the title has none)."""

    title: str
    genres: tuple[str, ...]
    year: int | None


def from_columns(
    users: NDArray[np.str_], items: NDArray[np.str_], rating: NDArray[np.int8], timestamp_us: NDArray[np.int64]
) -> Interactions:
    """Interactions from columns of ids as strings; the id lists are those that occur, sorted."""
    user_ids, user = np.unique(users, return_inverse=True)
    item_ids, item = np.unique(items, return_inverse=True)
    return Interactions(
        [str(each) for each in user_ids],
        [str(each) for each in item_ids],
        user.astype(np.int32),
        item.astype(np.int32),
        rating,
        timestamp_us,
    )


def read_ratings(path: Path) -> Interactions:
    """ratings.dat of MovieLens-1M: `user::item::rating::seconds` per line. `DataError` names what does not fit."""
    # The separator is two colons; Arrow takes one, so every second column is empty.
    names = ["user", "_1", "item", "_2", "rating", "_3", "seconds"]
    types = {"user": pa.string(), "item": pa.string(), "rating": pa.int8(), "seconds": pa.int64()}
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=names),
            parse_options=csv.ParseOptions(delimiter=":", quote_char=False),
            convert_options=csv.ConvertOptions(column_types=types, include_columns=list(types)),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a ratings file ({error})") from error
    rating = table["rating"].to_numpy()
    bad = np.flatnonzero((rating < 1) | (rating > 5))
    if len(bad):
        raise DataError(f"{path}: line {bad[0] + 1}: rating {rating[bad[0]]} is not in 1..5 ({len(bad)} such lines)")
    users, items = (table[name].to_numpy().astype(np.str_) for name in ("user", "item"))
    return from_columns(users, items, rating.astype(np.int8), table["seconds"].to_numpy() * 1_000_000)


def read_movies(path: Path) -> dict[str, Movie]:
    """movies.dat of MovieLens-1M (Latin-1): item id → `Movie`. `DataError` names the line that does not fit."""
    movies = {}
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        fields = line.split("::")
        if len(fields) != 3:
            raise DataError(f"{path}: line {number} has {len(fields)} fields, not 3")
        item, title, genres = fields
        movies[item] = _movie(title, genres)
    return movies


def _movie(title: str, genres: str) -> Movie:
    stem, _, tail = title.rpartition("(")
    year = tail.removesuffix(")")
    known = year.isdecimal() and len(year) == 4
    return Movie(stem.strip() if known else title, tuple(genres.split("|")), int(year) if known else None)
