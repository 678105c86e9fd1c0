"""What the files of made-up data are filled with: ids, films, counts of items, and writers of parts.

Next module: `training.synthetic_files`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
from numpy.typing import NDArray

from training.export import facts_table
from training.interactions import POSITIVE, Movie
from training.ratings import COLUMNS
from training.synthetic import Part, World
from training.synthetic_mark import FILM
from training.synthetic_vectors import on_sphere

GENRES: Final = 18
RECENT_US: Final = 30 * 86_400_000_000
Writer = Callable[[Part], object]


@dataclass(frozen=True)
class Ids:
    """Rows are in the order of the ids as strings; `numbers` (rows,) int32 are the same as numbers."""

    names: list[str]
    numbers: NDArray[np.int32]

    @staticmethod
    def of(count: int) -> Ids:
        """1 to `count`."""
        names = sorted(map(str, range(1, count + 1)))
        return Ids(names, np.array(names, dtype=np.int32))


class Tally:
    """What a catalogue says of items: positives, those of the last 30 days, the last interaction."""

    def __init__(self, items: int, end_us: int) -> None:
        self.positives = np.zeros(items, np.int64)
        self.recent = np.zeros(items, np.int64)
        self.last_us = np.zeros(items, np.int64)
        self._recent_from_us = end_us - RECENT_US

    def add(self, part: Part) -> None:
        """Count the interactions of `part`."""
        liked = part.rating >= POSITIVE
        recent = liked & (part.timestamp_us >= self._recent_from_us)
        self.positives += np.bincount(part.item[liked], minlength=len(self.positives))
        self.recent += np.bincount(part.item[recent], minlength=len(self.recent))
        np.maximum.at(self.last_us, part.item, part.timestamp_us)


def films(world: World, ids: Ids) -> list[Movie]:
    """A film for every item, in the order of `ids`: a title that says what it is, two genres, a year.

    A genre is a direction among the vectors, so that content tells something of taste.
    """
    rng = np.random.default_rng([world.settings.seed, 2])
    directions = on_sphere(GENRES, world.settings.dimension, rng)
    genres = np.argsort(-(world.vectors.items @ directions.T), axis=1)[:, :2]
    years = 2003 - rng.exponential(15, len(ids.names)).astype(int).clip(max=83)
    return [
        Movie(f"{FILM} {name}", (f"Genre {first + 1}", f"Genre {second + 1}"), year)
        for name, (first, second), year in zip(ids.names, genres.tolist(), years.tolist(), strict=True)
    ]


def films_csv(ids: Ids, known: list[Movie]) -> str:
    """The text of movies.csv."""
    lines = [
        f"{name},{film.title} ({film.year}),{'|'.join(film.genres)}"
        for name, film in zip(ids.names, known, strict=True)
    ]
    return "\n".join(["movieId,title,genres", *lines]) + "\n"


def ratings_writer(out: IO[bytes], users: Ids, items: Ids) -> Writer:
    """Writes parts as ratings.csv, after its line of names."""
    out.write((",".join(COLUMNS) + "\n").encode())

    def write(part: Part) -> None:
        columns = (users.numbers[part.user], items.numbers[part.item], part.rating, part.timestamp_us // 1_000_000)
        table = pa.table(dict(zip(COLUMNS, map(pa.array, columns), strict=True)))
        csv.write_csv(table, out, csv.WriteOptions(include_header=False))

    return write


def facts_writer(table: Any, users: Ids, items: Ids) -> Writer:
    """Writes parts to an open Parquet file of facts: they come by user and time, as facts must."""
    user_ids, item_ids = pa.array(users.names), pa.array(items.names)

    def write(part: Part) -> None:
        table.write_table(facts_table(user_ids, item_ids, part.user, part.item, part.rating, part.timestamp_us))

    return write
