"""What the bench of the router does with its measurements: quantiles, medians with ranges, a slope, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np
from scipy.stats import linregress, t

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
CONFIDENCE: Final = 0.95


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """`QUANTILES` and the maximum in milliseconds; nothing of nothing.

    A quantile is an observed value: the smallest that is not exceeded by that share of all.
    """
    if not len(seconds):
        return {}
    values = np.asarray(seconds) * 1e3
    found = np.quantile(values, list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, map(float, found), strict=True)) | {"max": float(values.max())}


@dataclass(frozen=True)
class Spread:
    """The median of several rounds and their range."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """`ValueError` of nothing."""
        found = list(values)
        if not found:
            raise ValueError("no round was measured")
        return Spread(median(found), min(found), max(found))

    def text(self, digits: int = 1, sign: bool = False) -> str:
        """`median (low–high)`."""
        form = f"{'+' if sign else ''},.{digits}f"
        return f"{self.median:{form}} ({self.low:{form}} – {self.high:{form}})"


@dataclass(frozen=True)
class Slope:
    """A line through values over time by least squares: `each` per unit of time, with its interval of 95 %."""

    each: float
    low: float
    high: float

    @staticmethod
    def of(times: Sequence[float], values: Sequence[float]) -> Slope:
        """At least three points at different times; `ValueError` of fewer.

        The interval takes the points as independent. Memory that moves in steps is not, and is then too narrow: a
        slope that it calls zero is one, a small one that it calls different from zero may not be.
        """
        if len(times) < 3 or len(set(times)) < 3:
            raise ValueError(f"{len(times)} points make no slope; three at different times are needed")
        if len(set(values)) == 1:  # scipy gives the constant no interval
            return Slope(0.0, 0.0, 0.0)
        line = linregress(times, values)
        margin = float(t.ppf((1 + CONFIDENCE) / 2, len(times) - 2) * line.stderr)
        return Slope(float(line.slope), float(line.slope) - margin, float(line.slope) + margin)

    @property
    def zero(self) -> bool:
        """Whether the interval holds 0."""
        return self.low <= 0 <= self.high


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose columns stand below each other in a terminal too; the first column to the left."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def shown(line: list[str]) -> str:
        cells = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([shown(lines[0]), f"|{rule}|", *map(shown, lines[1:])])


def yes(condition: bool) -> str:
    """A verdict in the house style."""
    return "**met**" if condition else "**missed**"
