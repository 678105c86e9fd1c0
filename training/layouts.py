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
FILM_COLUMNS: Final = ("movieId", "title", "genres")
TAG_COLUMNS: Final = ("userId", "movieId", "tag", "timestamp")
LATEST_SECONDS: Final = 4_102_444_800
"""The year 2100: a later time is milliseconds, or damage."""


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


class BadLines:
    """The first line of a file that does not fit, and how many others do not. Empty lines are none, in every form."""

    def __init__(self, path: Path) -> None:
        self.path, self.first, self.bad, self.lines = path, "", 0, 0

    def saw(self, number: int, problem: str | None) -> bool:
        """Whether line `number` fits; `problem` is what is wrong with it, None for nothing."""
        self.lines += 1
        if problem is None:
            return True
        self.bad += 1
        self.first = self.first or f"{self.path}: line {number}, {problem}"
        return False

    @property
    def told(self) -> str | None:
        """The first with its line and the number of others; None when every line fits."""
        others = f"; {self.bad - 1:,} more of {self.lines:,} lines are bad" if self.bad > 1 else ""
        return f"{self.first}{others}" if self.bad else None

    def refuse(self) -> None:
        """`DataError` when a line does not fit."""
        if self.told:
            raise DataError(self.told)


def is_id(text: str) -> bool:
    """Whether it is an id of MovieLens, in ASCII digits."""
    return _is_number_below(text, 2**31)


def is_time(text: str) -> bool:
    """Whether it is a time in seconds before 2100, in ASCII digits."""
    return _is_number_below(text, LATEST_SECONDS)


def _is_number_below(text: str, end: int) -> bool:
    # Python refuses to read thousands of digits, so what cannot be in range is not read.
    return text.isascii() and text.isdecimal() and len(text.lstrip("0")) <= 10 and 0 < int(text) < end


A_NUMBER: Final = "a whole number from 1"
A_TIME: Final = "a time in seconds since 1970 and before 2100"


def read_tags(path: Path) -> list[Tag]:
    """All tags in the order of the file. `DataError` names the first line that does not fit and counts the others."""
    found = []
    bad = BadLines(path)
    for number, row, problem in _csv_rows(path, TAG_COLUMNS):
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
    for number, line in _lines(path):
        fields = line.split("|")
        good = len(fields) == 5 + len(GENRES_100K) and set(fields[5:]) <= {"0", "1"}
        problem = None if good else f"{len(fields)} columns, not 24 of which the last 19 are 0 or 1"
        films.line(number, fields, problem, _flagged)
    return films.all


def _flagged(fields: list[str]) -> str:
    return "|".join(genre for genre, flag in zip(GENRES_100K, fields[5:], strict=True) if flag == "1")


def _items_dat(path: Path) -> dict[str, Movie]:
    films = _Films(path)
    for number, line in _lines(path):
        fields = line.split("::")
        problem = None if len(fields) == 3 else f"{len(fields)} columns, not 3: {line[:60]!r}"
        films.line(number, fields, problem, lambda fields: fields[2])
    return films.all


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line) of those that are not empty. 10M is UTF-8; 100K and 1M are Latin-1, and no UTF-8."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # Not splitlines(): it ends a line at more characters than a file does.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip("\r"):
            yield number, line.rstrip("\r")


def _items_csv(path: Path) -> dict[str, Movie]:
    films = _Films(path)
    for number, row, problem in _csv_rows(path, FILM_COLUMNS):
        films.line(number, row, problem, lambda row: row[2])
    return films.all


def _csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str], str | None]]:
    """(line number, row, what is wrong with it) after the header, which must be `columns`."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as source:
        rows = csv.reader(source)
        try:
            found = ",".join(next(rows, []))
            if found != ",".join(columns):
                raise DataError(f"{path}: line 1 is {found[:60]!r}, not {','.join(columns)!r}")
            begun = rows.line_num + 1
            for row in rows:
                if row:
                    yield begun, row, _bad_row(row, columns)
                begun = rows.line_num + 1
        except csv.Error as error:
            raise DataError(f"{path}: line {rows.line_num}, {error}") from error


def _bad_row(row: list[str], columns: tuple[str, ...]) -> str | None:
    if len(row) != len(columns):
        return f"{len(row)} columns, not {len(columns)}: {','.join(row)[:60]!r}"
    for column, text in zip(columns, row, strict=True):
        # What is no UTF-8 was read as lone surrogates.
        if not text.isascii() and any("\udc80" <= each <= "\udcff" for each in text):
            return f"column {column}: {text[:40]!r} is not UTF-8. Save the file as UTF-8"
    return None


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
