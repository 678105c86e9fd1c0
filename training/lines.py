"""Lines of MovieLens' files, one at a time: how they are read, what may stand in them, the first that does not fit.

Next module: `training.layouts`, which knows what the lines are of.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from training.errors import DataError

LATEST_SECONDS: Final = 4_102_444_800
"""The year 2100: a later time is milliseconds, or damage."""
A_NUMBER: Final = "a whole number from 1"
A_TIME: Final = "a time in seconds since 1970 and before 2100"


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


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
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


def csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str], str | None]]:
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
