"""Rows of an A/B test to one row for each user, whole or by day.

A unit that is seen in two arms is left out and counted. Next module: `analysis.ab_exposures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analysis.ab import Codes, DataError, Floats
from analysis.ab_columns import Columns, Words, of_csv

NO_ROW: Final = "(no row)"
"""The word of a user whom no row of the outcomes names."""


@dataclass(frozen=True)
class Rows:
    """The columns that are asked for: numbers as floats, words as they stand. `units` and `arms` are codes.

    `crossed` units were in two arms; `notes` are sentences on where the rows come from.
    """

    units: Codes
    arms: Codes
    arm_names: tuple[str, ...]
    numbers: Mapping[str, Floats]
    words: Mapping[str, Words]
    crossed: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Users:
    """One entry for each user: its arm, sums of numbers, means of covariates, and its first words."""

    arms: Codes
    sums: Mapping[str, Floats]
    covariates: Floats
    words: Mapping[str, Words]


def read_rows(
    lines: Iterable[str], unit: str, arm: str, control: str, numbers: Sequence[str], words: Sequence[str]
) -> Rows:
    """The rows of a CSV with a head; `DataError` names the line and the column that is wrong."""
    return rows_of(of_csv(lines, (unit, arm, *words), numbers), unit, arm, control, words)


def rows_of(columns: Columns, unit: str, arm: str, control: str, words: Sequence[str]) -> Rows:
    """The rows of a table that says each unit's arm; those of units in two arms are left out."""
    for name in (unit, arm):
        empty = columns.words[name] == ""
        if empty.any():
            raise DataError(f"row {int(np.argmax(empty)) + 1}: {name} is empty: users without one can't be told apart")
    names, arms = np.unique(columns.words[arm], return_inverse=True)
    if control not in names:
        raise DataError(f"no row of the control {control!r}; the arms are {', '.join(names)}")
    order = [control, *(str(name) for name in names if name != control)]
    arms = np.array([order.index(str(name)) for name in names])[arms]
    units = np.unique(columns.words[unit], return_inverse=True)[1]
    pairs = np.unique(np.column_stack([units, arms]), axis=0)
    seen = np.bincount(pairs[:, 0])
    keep = seen[units] == 1
    kept = np.unique(units[keep], return_inverse=True)[1].astype(np.intp)
    return Rows(
        kept, arms[keep].astype(np.intp), tuple(order), {name: each[keep] for name, each in columns.numbers.items()},
        {name: columns.words[name][keep] for name in words}, int((seen > 1).sum()),
    )  # fmt: skip


def by_user(rows: Rows, covariates: Sequence[str], chosen: npt.NDArray[np.bool_] | None = None) -> Users:
    """Users of all rows, or of the chosen ones."""
    keep = np.ones(len(rows.units), dtype=bool) if chosen is None else chosen
    found, first, units = np.unique(rows.units[keep], return_index=True, return_inverse=True)
    counts = np.bincount(units, minlength=len(found)).astype(float)
    sums = {name: np.bincount(units, each[keep], len(found)).astype(float) for name, each in rows.numbers.items()}
    means = [sums[name] / counts for name in covariates]
    return Users(
        rows.arms[keep][first], sums, np.column_stack(means) if means else np.zeros((len(found), 0)),
        {name: each[keep][first] for name, each in rows.words.items()},
    )  # fmt: skip
