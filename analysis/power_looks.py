"""`understudy power looks`: bounds for looks at data that still come, as a table or as JSON."""

from __future__ import annotations

import io
import json
import math
import textwrap
from typing import TYPE_CHECKING

import click

from analysis.power_cli import SPENDINGS, example, refuse

if TYPE_CHECKING:
    from analysis.looks import Looks


@click.command(epilog=example("looks"))
@click.option("--looks", "number", type=int, default=None, help="Equally spaced looks.")
@click.option("--at", default=None, help="Fractions of the information instead: 0.3,0.6,1.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Error of all looks together.")
@click.option("--sides", type=int, default=2, show_default=True, help="1 or 2.")
@click.option("--spending", type=click.Choice(SPENDINGS), default=SPENDINGS[0], show_default=True, help="Which bounds.")
@click.option("--parameter", type=float, default=None, help="ρ of kim-demets, γ of hwang-shih-decani.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Power at which the cost is told.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def looks(
    number: int | None, at: str | None, alpha: float, sides: int, spending: str, parameter: float | None, power: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Bounds for looks at data that still come, and how much more data they cost."""
    from analysis import looks as bounds

    try:
        if (number is None) == (at is None):
            raise ValueError("say --looks or --at, and not both")
        times = bounds.equal_looks(number) if number is not None else tuple(float(each) for each in str(at).split(","))
        design = bounds.looks(times, alpha, spending, sides=sides, parameter=parameter)
        cost = bounds.inflation(design, power)
    except (ValueError, ZeroDivisionError) as error:
        refuse(str(error) if not isinstance(error, ZeroDivisionError) else "there must be at least one look")
    text = looks_json(design, cost, power) if as_json else looks_text(design, cost, power)
    click.echo(text, nl=not text.endswith("\n"))


def looks_headline(design: Looks, cost: float, power: float) -> str:
    """What the looks cost, in one sentence."""
    from analysis.power_report import short

    number = len(design.fractions)
    sides = "two-sided" if design.sides == 2 else "one-sided"
    return (
        f"{number} look{'s' if number != 1 else ''}, {design.design}, {sides} α {short(design.alpha)}: "
        f"{100 * (cost - 1):.1f} % more data than a single look for power {short(power)}."
    )


def looks_text(design: Looks, cost: float, power: float) -> str:
    """The bounds as a table for a terminal."""
    from rich.console import Console

    from analysis.power_report import WIDTH, short, table

    out = io.StringIO()
    rows = [
        (str(number), short(time), "∞" if math.isinf(limit) else f"{limit:.4f}", f"{nominal:.6f}", f"{spent:.6f}")
        for number, (time, limit, nominal, spent) in enumerate(
            zip(design.fractions, design.limits, design.nominal, design.spent, strict=True), start=1
        )
    ]
    head = ("look", "information", "bound on z", "nominal p, one side", "α spent, one side")
    Console(file=out, width=WIDTH, color_system=None, legacy_windows=False).print(table(head, rows))
    lines = textwrap.wrap(looks_headline(design, cost, power), WIDTH)
    return "\n".join([*lines, *(line.rstrip() for line in out.getvalue().splitlines())])


def looks_json(design: Looks, cost: float, power: float) -> str:
    """The bounds with all digits; an infinite bound is null."""
    document = {
        "schema_version": 1,
        "headline": looks_headline(design, cost, power),
        "design": design.design,
        "alpha": design.alpha,
        "sides": design.sides,
        "fractions": list(design.fractions),
        "limits": [None if math.isinf(limit) else limit for limit in design.limits],
        "nominal": list(design.nominal),
        "spent": list(design.spent),
        "power": power,
        "inflation": cost,
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
