"""The forms in which MovieLens was published, told apart by the names of their files; their films and tags.

`u.data` and `u.item` (100K), `ratings.dat` and `movies.dat` (1M, 10M), `ratings.csv` and `movies.csv` with optional
`tags.csv` (latest-small, 20M, 25M, 32M). Next module: `training.ratings`, which reads the large file of the three.
"""

from __future__ import annotations

import bisect
import csv
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import DataError
from training.interactions import Movie

GENRES_100K: Final = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The columns of u.item from the sixth on."""
NO_GENRES: Final = "(no genres listed)"


@dataclass(frozen=True, slots=True)
class Tag:
    """A user gave an item a tag; `timestamp_us` is UTC."""

    user_id: str
    item_id: str
    tag: str
    timestamp_us: int


@dataclass(frozen=True)
class Layout:
    """One form: the names of its files, the separator of the ratings, whether they begin with a line of names."""

    name: str
    ratings: str
    items: str
    separator: str
    header: bool
    read_items: Callable[[Path], dict[str, Movie]]
    tags: str | None = None

    @staticmethod
    def of(directory: Path) -> Layout:
        """The form of the files in `directory`. `DataError` when it is none of them."""
        for layout in LAYOUTS:
            if (directory / layout.ratings).is_file() and (directory / layout.items).is_file():
                return layout
        known = "; ".join(f"{each.ratings} and {each.items}" for each in LAYOUTS)
        raise DataError(f"{directory}: no MovieLens data. Looked for {known}.")


def read_tags(path: Path) -> list[Tag]:
    """All tags in the order of the file. `DataError` names the line that does not fit."""
    found = []
    for number, row in _csv_rows(path, 4):
        user, item, tag, seconds = row
        if not seconds.isdecimal():
            raise DataError(f"{path}: line {number}, column timestamp: {seconds!r} is not a whole number of seconds")
        # A million tags have few different texts: each is kept once.
        found.append(Tag(sys.intern(user), sys.intern(item), sys.intern(tag), int(seconds) * 1_000_000))
    return found


@dataclass(frozen=True)
class Tags:
    """The tags of a data set, in `path` if it has any: read when first asked for, told only before a moment."""

    path: Path | None = None

    def before(self, cut_us: int) -> list[Tag]:
        """Those given before `cut_us`, the oldest first. `DataError` as `read_tags`."""
        return self._by_time[: bisect.bisect_left(self._by_time, cut_us, key=lambda tag: tag.timestamp_us)]

    @functools.cached_property
    def _by_time(self) -> list[Tag]:
        return sorted(read_tags(self.path), key=lambda tag: tag.timestamp_us) if self.path else []


NO_TAGS: Final = Tags()


def _items_100k(path: Path) -> dict[str, Movie]:
    movies = {}
    for number, line in enumerate(path.read_text(encoding="latin-1").split("\n"), start=1):
        if not line:
            continue
        fields = line.split("|")
        flags = fields[5:]
        if len(flags) != len(GENRES_100K) or not set(flags) <= {"0", "1"}:
            raise DataError(f"{path}: line {number} has {len(fields)} fields, not 24 of which the last 19 are 0 or 1")
        genres = "|".join(genre for genre, flag in zip(GENRES_100K, flags, strict=True) if flag == "1")
        movies[fields[0]] = movie(fields[1], genres)
    return movies


def _items_dat(path: Path) -> dict[str, Movie]:
    movies = {}
    for number, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        fields = line.split("::")
        if len(fields) != 3:
            raise DataError(f"{path}: line {number} has {len(fields)} fields, not 3")
        movies[fields[0]] = movie(fields[1], fields[2])
    return movies


def _items_csv(path: Path) -> dict[str, Movie]:
    return {item: movie(title, genres) for _, (item, title, genres) in _csv_rows(path, 3)}


def _csv_rows(path: Path, fields: int) -> Iterator[tuple[int, list[str]]]:
    """(line number, row) after the header."""
    with path.open(encoding="utf-8", newline="") as source:
        rows = csv.reader(source)
        next(rows, None)
        for row in rows:
            if len(row) != fields:
                raise DataError(f"{path}: line {rows.line_num} has {len(row)} fields, not {fields}")
            yield rows.line_num, row


def movie(title: str, genres: str) -> Movie:
    """A film from its title with the year in brackets at the end, if any, and its genres between bars."""
    stem, _, tail = title.strip().rpartition("(")
    year = tail.removesuffix(")")
    known = year.isdecimal() and len(year) == 4
    names = tuple(genre for genre in genres.split("|") if genre and genre not in (NO_GENRES, GENRES_100K[0]))
    return Movie(stem.strip() if known else title, names, int(year) if known else None)


LAYOUTS: Final = (
    Layout("dat", "ratings.dat", "movies.dat", "::", False, _items_dat),
    Layout("csv", "ratings.csv", "movies.csv", ",", True, _items_csv, tags="tags.csv"),
    Layout("tab", "u.data", "u.item", "\t", False, _items_100k),
)
