"""Published cases: what other tools and books print, typed from them (published_cases.csv), and how each is compared.

`rule` says how: `digits` to half a unit of the last printed digit, `abs:x` and `rel:x` within x, `ceil` after rounding
up, `ceil-even` up to the next even number, `ceil-arms` each of two equal arms rounded up, `abs:1.5` where the source
rounds both arms to their ratio. `agrees` is "no" where our answer differs; the note then names the reason.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One printed number with what it was printed for."""

    line: int
    source: str
    page: str
    design: str
    convention: str
    inputs: dict[str, str]
    solve: str
    printed: str
    rule: str
    agrees: bool
    note: str

    def number(self, name: str, default: float) -> float:
        """An input as a number; `log(1.25)` is understood."""
        text = self.inputs.get(name)
        if text is None:
            return default
        return math.log(float(text[4:-1])) if text.startswith("log(") else float(text)

    def holds(self, found: float) -> bool:
        """Whether `found` is the printed number by the case's own rule."""
        printed = float(self.printed)
        kind, _, size = self.rule.partition(":")
        if kind == "digits":
            decimals = len(self.printed.partition(".")[2])
            return abs(found - printed) <= 0.5000001 * 10.0**-decimals
        if kind == "abs":
            return abs(found - printed) <= float(size)
        if kind == "rel":
            return abs(found / printed - 1) <= float(size)
        rounded = {"ceil": math.ceil(found), "ceil-even": 2 * math.ceil(found / 2), "ceil-arms": 2 * math.ceil(found)}
        return rounded[kind] == printed


def published_cases() -> Iterator[Case]:
    """Every case of the file."""
    with (Path(__file__).parent / "published_cases.csv").open(newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            inputs = dict(pair.split("=", 1) for pair in row["inputs"].split())
            agrees = {"yes": True, "no": False}[row["agrees"]]
            rest = {name: row[name] for name in ("source", "page", "design", "convention", "solve", "printed", "rule")}
            yield Case(line=line, inputs=inputs, agrees=agrees, note=row["note"], **rest)
