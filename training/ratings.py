"""Reading a ratings file of any layout into `Interactions`: fast when it is right, exact about what is wrong.

Arrow parses; the checks are on whole columns. When anything does not fit, the file is read once more line by line, and
the first bad value is told with its line and column, and how many other lines are bad. A user has rated an item once:
of lines that say so again the earliest counts, and the others are counted. Next module: `training.table_cache`, which
keeps what was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
from numpy.typing import NDArray

from training.errors import DataError
from training.interactions import Interactions
from training.layouts import Layout
from training.lines import A_NUMBER, A_TIME, LATEST_SECONDS, BadLines, is_id, is_time

COLUMNS: Final = ("userId", "movieId", "rating", "timestamp")
TYPES: Final = (pa.int32(), pa.int32(), pa.float32(), pa.int64())
BLOCK_BYTES: Final = 16 << 20
PLAIN_BYTES: Final = 4 << 20
LOOKED_UP: Final = 1 << 20
"""Pairs that are looked up at once, which bounds memory."""


def read_ratings(path: Path, layout: Layout) -> Interactions:
    """The interactions in `path`. `DataError` names the first value that does not fit, its line and its column.

    Lines that name a user and an item again are left out by `first_of_each`; `repeated` of the result counts them.
    """
    if layout.header:
        _check_header(path, layout)
    try:
        user, item, rating, seconds = _columns(path, layout)
    except (pa.ArrowException, OSError) as error:
        raise DataError(_first_bad(path, layout) or f"{path}: not a ratings file ({error})") from error
    if not len(rating):
        raise DataError(f"{path}: no ratings in it")
    # Arrow keeps what parsing took for the next file; there is none.
    pa.default_memory_pool().release_unused()
    in_range = _good_rating(rating) & (user > 0) & (item > 0) & (seconds > 0) & (seconds < LATEST_SECONDS)
    if not in_range.all() or not _plain(path, layout, len(rating)):
        raise DataError(_first_bad(path, layout) or f"{path}: values out of range")
    lines = len(rating)
    kept = first_of_each(user, item, seconds)
    if kept is not None:
        # One after the other, so that two copies of all of it are never held.
        user, item = user[kept], item[kept]
        rating = rating[kept]
        seconds = seconds[kept]
        pa.default_memory_pool().release_unused()
    user_ids, user_rows = _rows_of(user)
    item_ids, item_rows = _rows_of(item)
    return Interactions(user_ids, item_ids, user_rows, item_rows, rating, seconds * 1_000_000, lines - len(rating))


def first_of_each(
    user: NDArray[np.int32], item: NDArray[np.int32], seconds: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    """The lines to keep, so that each user has rated an item once; None when there is nothing to leave out.

    The earliest is kept, of one moment the first in the file. Not the newest: what a user does after a cut would then
    take away what was known before it, and a model would see the future by a gap.
    """
    again = _repeated(user, item)
    if not len(again):
        return None
    parts = [slice(at, at + LOOKED_UP) for at in range(0, len(user), LOOKED_UP)]
    rows = np.concatenate([part.start + _found(_pairs(user[part], item[part]), again) for part in parts])
    pair = _pairs(user[rows], item[rows])
    order = np.lexsort((seconds[rows], pair))
    later = np.zeros(len(rows), dtype=bool)
    later[1:] = pair[order[1:]] == pair[order[:-1]]
    kept = np.ones(len(user), dtype=bool)
    kept[rows[order[later]]] = False
    return kept


def _pairs(user: NDArray[np.int32], item: NDArray[np.int32]) -> NDArray[np.int64]:
    """A user and an item as one number."""
    pair = user.astype(np.int64)
    pair <<= 32
    pair |= item
    return pair


def _repeated(user: NDArray[np.int32], item: NDArray[np.int32]) -> NDArray[np.int64]:
    """The pairs that are there more than once, ascending."""
    pair = _pairs(user, item)
    pair.sort()
    return np.unique(pair[1:][pair[1:] == pair[:-1]])


def _found(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where `values` holds one of `ascending`."""
    place = np.searchsorted(ascending, values).clip(max=len(ascending) - 1)
    return np.flatnonzero(ascending[place] == values)


def _check_header(path: Path, layout: Layout) -> None:
    expected = layout.separator.join(COLUMNS)
    try:
        with path.open(encoding="utf-8", errors="replace") as source:
            found = source.readline().rstrip("\r\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if found != expected:
        raise DataError(f"{path}: line 1 is {found[:60]!r}, not {expected!r}")


def _plain(path: Path, layout: Layout, lines: int) -> bool:
    """Whether all is digits, points, separators and ends of lines: Arrow also reads 0x10, 4e0 and blanks around them.

    The colons of the form with two are counted, because Arrow separates at one and never looks between two.
    """
    allowed = b"0123456789.\r\n" + layout.separator.encode()
    header = layout.separator.join(COLUMNS).encode() if layout.header else b""
    separators = 0
    with path.open("rb") as source:
        while block := source.read(PLAIN_BYTES):
            block = (block + source.readline()).removeprefix(header)
            header = b""
            if block.translate(None, delete=allowed):
                return False
            separators += block.count(layout.separator.encode())
    return separators == lines * (len(COLUMNS) - 1)


def _columns(path: Path, layout: Layout) -> Iterator[NDArray[Any]]:
    """The four columns as arrays; each is given up by Arrow as soon as it is copied."""
    # Arrow's separator is one character, so in the form with two colons every second column is empty.
    gaps = len(layout.separator) - 1
    names = [name for column in COLUMNS for name in (column, *(f"{column}-gap-{n}" for n in range(gaps)))]
    names = names[: len(names) - gaps]
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names, skip_rows=int(layout.header), block_size=BLOCK_BYTES),
        parse_options=csv.ParseOptions(delimiter=layout.separator[0], quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=dict(zip(COLUMNS, TYPES, strict=True)),
            include_columns=list(COLUMNS),
            null_values=[],
            strings_can_be_null=False,
        ),
    )
    for name in COLUMNS:
        values = table[name].to_numpy()
        table = table.drop_columns([name])
        yield values


def _good_rating(rating: NDArray[np.floating]) -> NDArray[np.bool_]:
    halves = 2 * rating
    good: NDArray[np.bool_] = (halves == np.floor(halves)) & (rating >= 0.5) & (rating <= 5)
    return good


def _rows_of(numbers: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int32]]:
    """Ids as strings in ascending order, and for every number the row of its id."""
    present = np.flatnonzero(np.bincount(numbers))
    names = present.astype(np.str_)
    order = np.argsort(names)
    rows = np.zeros(int(present[-1]) + 1, np.int32)
    rows[present[order]] = np.arange(len(present), dtype=np.int32)
    return names[order].tolist(), rows[numbers]


def _first_bad(path: Path, layout: Layout) -> str | None:
    """What is wrong with the first bad line, and how many others are bad; None when every line is good."""
    bad = BadLines(path)
    with path.open(encoding="utf-8", errors="replace", newline="") as source:
        if layout.header:
            next(source, None)
        for number, line in enumerate(source, start=1 + layout.header):
            text = line.rstrip("\r\n")
            # Arrow passes over empty lines too.
            if text:
                bad.saw(number, _problem(text, layout))
    return bad.told


def _problem(line: str, layout: Layout) -> str | None:
    fields = line.split(layout.separator)
    if len(fields) != len(COLUMNS):
        return f"{len(fields)} columns, not {len(COLUMNS)}: {line[:60]!r}"
    for column, text in zip(COLUMNS, fields, strict=True):
        fits, expected = _RULES[column]
        if not fits(text):
            return f"column {column}: {text[:40]!r} is not {expected}"
    return None


def _is_rating(text: str) -> bool:
    # Not all that float() takes: 0_5 and digits of other scripts are no numbers to Arrow.
    if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text):
        return False
    return bool(_good_rating(np.array([float(text)]))[0])


_RULES: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "userId": (is_id, A_NUMBER),
    "movieId": (is_id, A_NUMBER),
    "rating": (_is_rating, "a number of stars from 0.5 to 5 in halves"),
    "timestamp": (is_time, A_TIME),
}
