"""The forms in which MovieLens was published, told apart by the names of their files; their films and tags.

`u.data` and `u.item` (100K), `ratings.dat` and `movies.dat` (1M, 10M), `ratings.csv` and `movies.csv` with optional
`tags.csv` (latest-small, 20M, 25M, 32M). Next module: `training.ratings`, which reads the large file of the three.
"""

from __future__ import annotations

import bisect
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import DataError
from training.interactions import Movie
from training.lines import A_NUMBER, A_TIME, BadLines, csv_rows, is_id, is_time, lines_of

GENRES_100K: Final = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The columns of u.item from the sixth on."""
NO_GENRES: Final = "(no genres listed)"
FILM_COLUMNS: Final = ("movieId", "title", "genres")
TAG_COLUMNS: Final = ("userId", "movieId", "tag", "timestamp")


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
    """All tags in the order of the file. `DataError` names the first line that does not fit and counts the others."""
    found = []
    bad = BadLines(path)
    for number, row, problem in csv_rows(path, TAG_COLUMNS):
        if bad.saw(number, problem or _bad_tag(row)):
            user, item, tag, seconds = row
            # A million tags have few different texts: each is kept once.
            user, item = (sys.intern(str(int(each))) for each in (user, item))
            found.append(Tag(user, item, sys.intern(tag), int(seconds) * 1_000_000))
    bad.refuse()
    return found


def _bad_tag(row: list[str]) -> str | None:
    for column, text in zip(TAG_COLUMNS[:2], row[:2], strict=True):
        if not is_id(text):
            return f"column {column}: {text[:40]!r} is not {A_NUMBER}"
    return None if is_time(row[3]) else f"column timestamp: {row[3][:40]!r} is not {A_TIME}"


@dataclass(frozen=True)
class Tags:
    """The tags of a data set, in `path` if it has any: read when first asked for, told only before a moment."""

    path: Path | None = None

    def before(self, cut_us: int) -> list[Tag]:
        """Those given before `cut_us`, the oldest first. `DataError` as `read_tags`."""
        return self._by_time[: bisect.bisect_left(self._by_time, cut_us, key=lambda tag: tag.timestamp_us)]

    def __len__(self) -> int:
        """How many there are; reads and checks all of them. `DataError` as `read_tags`."""
        return len(self._by_time)

    @functools.cached_property
    def _by_time(self) -> list[Tag]:
        return sorted(read_tags(self.path), key=lambda tag: tag.timestamp_us) if self.path else []


NO_TAGS: Final = Tags()


class _Films:
    """Films as they are read, with what is wrong with their lines."""

    def __init__(self, path: Path) -> None:
        self.movies: dict[str, Movie] = {}
        self.bad = BadLines(path)
        self._lines: dict[str, int] = {}

    def line(self, number: int, fields: list[str], problem: str | None, genres: Callable[[list[str]], str]) -> None:
        """Line `number`: the id, the title, and what `genres` makes of all the fields; `problem` when they are bad."""
        item = fields[0] if fields else ""
        if problem is None and not is_id(item):
            problem = f"column movieId: {item[:40]!r} is not {A_NUMBER}"
        item = item if problem else str(int(item))
        if problem is None and item in self._lines:
            problem = f"column movieId: film {item!r} is on line {self._lines[item]} already"
        if self.bad.saw(number, problem):
            self._lines[item] = number
            self.movies[item] = movie(fields[1], genres(fields))

    @property
    def all(self) -> dict[str, Movie]:
        """The films by id. `DataError` names the first line that does not fit and counts the others."""
        self.bad.refuse()
        return self.movies


def _items_100k(path: Path) -> dict[str, Movie]:
    films = _Films(path)
    for number, line in lines_of(path):
        fields = line.split("|")
        good = len(fields) == 5 + len(GENRES_100K) and set(fields[5:]) <= {"0", "1"}
        problem = None if good else f"{len(fields)} columns, not 24 of which the last 19 are 0 or 1"
        films.line(number, fields, problem, _flagged)
    return films.all


def _flagged(fields: list[str]) -> str:
    return "|".join(genre for genre, flag in zip(GENRES_100K, fields[5:], strict=True) if flag == "1")


def _items_dat(path: Path) -> dict[str, Movie]:
    films = _Films(path)
    for number, line in lines_of(path):
        fields = line.split("::")
        problem = None if len(fields) == 3 else f"{len(fields)} columns, not 3: {line[:60]!r}"
        films.line(number, fields, problem, lambda fields: fields[2])
    return films.all


def _items_csv(path: Path) -> dict[str, Movie]:
    films = _Films(path)
    for number, row, problem in csv_rows(path, FILM_COLUMNS):
        films.line(number, row, problem, lambda row: row[2])
    return films.all


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
