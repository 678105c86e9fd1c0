"""Rows of an A/B test (CSV) to one row for each user, whole or by day.

A unit that is seen in two arms is left out and counted. Next module: `analysis.ab`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.ab import Codes, DataError, Floats


@dataclass(frozen=True)
class Rows:
    """The columns that are asked for: numbers as floats, words as they stand. `units` and `arms` are codes."""

    units: Codes
    arms: Codes
    arm_names: tuple[str, ...]
    numbers: Mapping[str, Floats]
    words: Mapping[str, npt.NDArray[np.str_]]
    crossed: int


@dataclass(frozen=True)
class Users:
    """One entry for each user: its arm, sums of numbers, means of covariates, and its first words."""

    arms: Codes
    sums: Mapping[str, Floats]
    covariates: Floats
    words: Mapping[str, npt.NDArray[np.str_]]


def read_rows(
    lines: Iterable[str], unit: str, arm: str, control: str, numbers: Sequence[str], words: Sequence[str]
) -> Rows:
    """The rows of a CSV with a head; `DataError` names the line and the column that is wrong."""
    reader = csv.DictReader(lines)
    missing = [name for name in (unit, arm, *numbers, *words) if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"no column {missing[0]!r}; there are {', '.join(reader.fieldnames or ()) or 'none'}")
    rows = list(reader)
    if not rows:
        raise DataError("there is no row")
    names, arms = np.unique([row[arm] for row in rows], return_inverse=True)
    if control not in names:
        raise DataError(f"no row of the control {control!r}; the arms are {', '.join(names)}")
    order = [control, *(str(name) for name in names if name != control)]
    arms = np.array([order.index(str(name)) for name in names])[arms]
    units = np.unique([row[unit] for row in rows], return_inverse=True)[1]
    return _without_crossed(
        units, arms, tuple(order), {name: _floats(rows, name) for name in numbers},
        {name: np.array([row[name] for row in rows]) for name in words},
    )  # fmt: skip


def _floats(rows: Sequence[Mapping[str, str]], name: str) -> Floats:
    values = np.empty(len(rows))
    for number, row in enumerate(rows):
        try:
            values[number] = float(row[name])
        except (TypeError, ValueError):
            raise DataError(f"line {number + 2}: {name} is {row[name]!r}, which is no number") from None
    if not np.isfinite(values).all():
        raise DataError(f"line {int(np.argmin(np.isfinite(values))) + 2}: {name} is not finite")
    return values


def _without_crossed(
    units: Codes,
    arms: Codes,
    names: tuple[str, ...],
    numbers: dict[str, Floats],
    words: dict[str, npt.NDArray[np.str_]],
) -> Rows:
    pairs = np.unique(np.column_stack([units, arms]), axis=0)
    seen = np.bincount(pairs[:, 0])
    keep = seen[units] == 1
    kept = np.unique(units[keep], return_inverse=True)[1].astype(np.intp)
    return Rows(
        kept, arms[keep].astype(np.intp), names, {name: each[keep] for name, each in numbers.items()},
        {name: each[keep] for name, each in words.items()}, int((seen > 1).sum()),
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
