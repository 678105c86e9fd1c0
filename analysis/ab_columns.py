"""The columns of a table of outcomes, from CSV or Parquet: numbers as floats, everything else as words.

Next module: `analysis.ab_data`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis.ab import DataError, Floats

Words = npt.NDArray[np.str_]
PARQUET: Final = b"PAR1"
"""How a Parquet file begins."""
LARGEST: Final = 1e100
"""Sums of squares of larger numbers leave what a double can hold."""
ROWS: Final = "rows"
"""A number that every table has: 1 in each row, where it has no column of that name."""


@dataclass(frozen=True)
class Columns:
    """The columns that were asked for, equally long."""

    words: Mapping[str, Words]
    numbers: Mapping[str, Floats]


def read_columns(path: Path, words: Sequence[str], numbers: Sequence[str]) -> Columns:
    """The columns of the file, which its first bytes tell to be Parquet; else it is a CSV with a head.

    `DataError` names the line (row) and the column that is wrong; `OSError` and `UnicodeDecodeError` as they come.
    """
    with path.open("rb") as file:
        parquet = file.read(len(PARQUET)) == PARQUET
    if parquet:
        return _of_parquet(path, words, numbers)
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return of_csv(lines, words, numbers)


def of_csv(lines: Iterable[str], words: Sequence[str], numbers: Sequence[str]) -> Columns:
    """The columns of a CSV with a head; `DataError` names the line and the column that is wrong."""
    reader = csv.DictReader(lines)
    _check((*words, *numbers), reader.fieldnames or ())
    rows = list(reader)
    if not rows:
        raise DataError("there is no row")
    there = reader.fieldnames or ()
    return Columns(
        {name: np.array([row[name] or "" for row in rows]) for name in words},
        {name: _floats([row[name] for row in rows], name, "line", 2) if name in there else np.ones(len(rows))
         for name in numbers},
    )  # fmt: skip


def _of_parquet(path: Path, words: Sequence[str], numbers: Sequence[str]) -> Columns:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        _check((*words, *numbers), file.schema_arrow.names)
        there = [name for name in dict.fromkeys((*words, *numbers)) if name in file.schema_arrow.names]
        table = file.read(columns=there)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {' '.join(str(error).split())}") from error
    if not table.num_rows:
        raise DataError("there is no row")
    return Columns(
        {name: np.array(["" if each is None else str(each) for each in table[name].to_pylist()]) for name in words},
        {name: _floats(table[name].to_pylist(), name, "row", 1) if name in there else np.ones(table.num_rows)
         for name in numbers},
    )  # fmt: skip


def _check(asked: Iterable[str], there: Sequence[str]) -> None:
    missing = [name for name in asked if name not in there and name != ROWS]
    if missing:
        raise DataError(f"no column {missing[0]!r}; there are {', '.join(there) or 'none'}")


def _floats(texts: Sequence[Any], name: str, kind: str, first: int) -> Floats:
    values = np.empty(len(texts))
    for number, text in enumerate(texts):
        try:
            values[number] = float(text)
        except (TypeError, ValueError):
            raise DataError(f"{kind} {number + first}: {name} is {text!r}, which is no number") from None
    if not np.isfinite(values).all():
        raise DataError(f"{kind} {int(np.argmin(np.isfinite(values))) + first}: {name} is not finite")
    large = np.abs(values) > LARGEST
    if large.any():
        at = int(np.argmax(large))
        raise DataError(
            f"{kind} {at + first}: {name} is {values[at]:g}, too large to be squared: say it in another unit"
        )
    return values
