"""Planned looks in words, as a table, Markdown, JSON, CSV and SVG; every form has the same numbers.

Next module: `analysis.power_looks`.
"""

from __future__ import annotations

import io
import json
import math
import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from rich.console import Console
from scipy.special import ndtri

from analysis.formulas import Formula, formulas
from analysis.looks import DESIGNS, PARAMETERS, Looks, inflation, looks, power_over
from analysis.power_plot import terminal_curve, to_svg
from analysis.power_report import WIDTH, markdown_table, short, table

AXIS: Final = "n, % of a single look's"
POINTS: Final = 21
QUICK: Final = 50
HEAD: Final = ("look", "information", "bound on z", "nominal p, one side", "α spent, one side")
LAN_DEMETS: Final = "Lan and DeMets 1983, Biometrika 70, 659–663"
JENNISON_TURNBULL: Final = "Jennison and Turnbull 2000, Group Sequential Methods, ch. 2"
FORMULAS: Final = formulas(
    "looks", "data, as a share of a single look's", "bounds",
    ("lan-demets-obrien-fleming", "error spending like O'Brien and Fleming's bounds",
     "a side of error a spends 2 − 2Φ(z₁₋a/₂ / √t) up to t", LAN_DEMETS, "gsDesign: sfLDOF"),
    ("lan-demets-pocock", "error spending like Pocock's bounds", "a side of error a spends a·ln(1 + (e − 1)t) up to t",
     LAN_DEMETS, "gsDesign: sfLDPocock"),
    ("obrien-fleming", "O'Brien and Fleming's bounds", "C/√t, C by the error of all looks",
     "O'Brien and Fleming 1979, Biometrics 35, 549–556", JENNISON_TURNBULL),
    ("pocock", "Pocock's bounds", "C at each look, by the error of all looks",
     "Pocock 1977, Biometrika 64, 191–199", JENNISON_TURNBULL),
    ("kim-demets", "power family of error spending", "a side of error a spends a·t^ρ up to t",
     "Kim and DeMets 1987, Biometrika 74, 149–154", "gsDesign: sfPower"),
    ("hwang-shih-decani", "gamma family of error spending", "a side of error a spends a(1 − e^−γt)/(1 − e^−γ) up to t",
     "Hwang, Shih and De Cani 1990, Statistics in Medicine 9, 1439–1445", "gsDesign: sfHSD"),
)  # fmt: skip


@dataclass(frozen=True)
class Planned:
    """Bounds with what they cost at a power; `parameter` as it was said."""

    design: Looks
    cost: float
    power: float
    parameter: float | None = None

    @property
    def formula(self) -> Formula:
        """Where the bounds come from."""
        return FORMULAS[self.design.design]

    @cached_property
    def others(self) -> dict[str, float]:
        """What other bounds for the same looks cost: a fixed shape only where its last look is at 1, and none for more
        than `QUICK` looks, which take time."""
        found: dict[str, float] = {}
        if len(self.design.fractions) > QUICK:
            return found
        for name in DESIGNS:
            try:
                other = looks(self.design.fractions, self.design.alpha, name, sides=self.design.sides)
                found[name] = inflation(other, self.power)
            except ValueError:
                continue
        found.pop(self.design.design, None)
        return found

    @cached_property
    def curve(self) -> list[tuple[float, float]]:
        """Power over the data, as a share of what a single look needs for the power."""
        single = float(ndtri(self.power) - ndtri(self.design.alpha / self.design.sides))
        shares = [0.1 + (2 * self.cost - 0.1) * step / (POINTS - 1) for step in range(POINTS)]
        return [(share, power_over(self.design, single * math.sqrt(share))) for share in shares]


def rendered(planned: Planned, form: str, with_curve: bool = True) -> str:
    """One of `analysis.power_cli.FORMATS`."""
    if form == "svg":
        points = [(100 * share, power) for share, power in planned.curve]
        return to_svg(points, 100 * planned.cost, planned.power, headline(planned), AXIS)
    if form == "table":
        return to_text(planned, with_curve)
    return {"json": to_json, "markdown": to_markdown, "csv": to_csv}[form](planned)


def headline(planned: Planned) -> str:
    """What the looks cost, in one sentence."""
    design = planned.design
    number = len(design.fractions)
    sides = "two-sided" if design.sides == 2 else "one-sided"
    return (
        f"{number} look{'s' if number != 1 else ''}, {design.design}, {sides} α {short(design.alpha)}: "
        f"{100 * (planned.cost - 1):.1f} % more data than a single look for power {short(planned.power)}."
    )


def facts(planned: Planned) -> list[tuple[str, str]]:
    """Where the bounds come from, as names and texts."""
    formula, design = planned.formula, planned.design.design
    rows = [("convention", formula.convention), ("formula", f"{formula.name}: {formula.text}")]
    if design in PARAMETERS:
        rows.append(("parameter", short(PARAMETERS[design] if planned.parameter is None else planned.parameter)))
    return [*rows, ("inflation", f"{planned.cost:.6f}"), ("source", formula.sources[0]), ("and", formula.sources[1])]


def bounds(planned: Planned) -> list[tuple[str, ...]]:
    """A row for each look, as `HEAD`."""
    design = planned.design
    columns = zip(design.fractions, design.limits, design.nominal, design.spent, strict=True)
    return [
        (str(number), short(time), "∞" if math.isinf(limit) else f"{limit:.4f}", f"{nominal:.6f}", f"{spent:.6f}")
        for number, (time, limit, nominal, spent) in enumerate(columns, start=1)
    ]


def _others(planned: Planned) -> list[tuple[str, str]]:
    return [(name, f"{cost:.4f}") for name, cost in planned.others.items()]


def to_text(planned: Planned, with_curve: bool = True) -> str:
    """For a terminal, plain text of `WIDTH` columns."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, legacy_windows=False)
    console.print(table(HEAD, bounds(planned)))
    console.print(table(("", ""), facts(planned), shown=False))
    if planned.others:
        console.print(table(("other convention", "inflation"), _others(planned)))
    lines = textwrap.wrap(headline(planned), WIDTH)
    text = "\n".join([*lines, *(line.rstrip() for line in out.getvalue().splitlines())])
    if not with_curve:
        return text
    points = [(100 * share, power) for share, power in planned.curve]
    return "\n".join([text, *terminal_curve(points, 100 * planned.cost, planned.power, AXIS)])


def to_markdown(planned: Planned) -> str:
    """For a pull request."""
    parts = [
        f"**{headline(planned)}**",
        markdown_table(HEAD, bounds(planned)),
        markdown_table(("", ""), facts(planned)),
    ]
    if planned.others:
        parts.append(markdown_table(("other convention", "inflation"), _others(planned)))
    return "\n\n".join(parts) + "\n"


def to_csv(planned: Planned) -> str:
    """The bounds with all digits; an infinite one is `inf`."""
    design = planned.design
    rows = zip(design.fractions, design.limits, design.nominal, design.spent, strict=True)
    lines = (",".join(repr(float(each)) for each in row) for row in rows)
    return "\n".join(["information,bound,nominal_p,spent", *lines]) + "\n"


def to_json(planned: Planned) -> str:
    """Everything with all digits; an infinite bound is null."""
    design, formula = planned.design, planned.formula
    document = {
        "schema_version": 1,
        "headline": headline(planned),
        "design": design.design,
        "convention": formula.convention,
        "formula": {"name": formula.name, "text": formula.text, "sources": list(formula.sources)},
        "alpha": design.alpha,
        "sides": design.sides,
        "fractions": list(design.fractions),
        "limits": [None if math.isinf(limit) else limit for limit in design.limits],
        "nominal": list(design.nominal),
        "spent": list(design.spent),
        "power": planned.power,
        "inflation": planned.cost,
        "other_conventions": planned.others,
        "curve": [list(point) for point in planned.curve],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
