"""`understudy power looks`: bounds for looks at data that still come, as a table, Markdown, JSON, CSV or SVG."""

from __future__ import annotations

from pathlib import Path

import click

from analysis.power_cli import FORMATS, SPENDINGS, example, printed, refuse


@click.command(epilog=example("looks"))
@click.option("--looks", "number", type=int, default=None, help="Equally spaced looks.")
@click.option("--at", default=None, help="Fractions of the information instead: 0.3,0.6,1.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Error of all looks together.")
@click.option("--sides", type=int, default=2, show_default=True, help="1 or 2.")
@click.option(
    "--spending", "--convention", "spending", type=click.Choice(SPENDINGS), default=SPENDINGS[0], show_default=True,
    help="Which bounds.",
)  # fmt: skip
@click.option("--parameter", type=float, default=None, help="ρ of kim-demets, γ of hwang-shih-decani.")
@click.option("--power", type=float, default=0.8, show_default=True, help="Power at which the cost is told.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", help="How it is printed.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--curve/--no-curve", default=True, help="The curve below the table.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write it to a file instead.")
def looks(
    number: int | None, at: str | None, alpha: float, sides: int, spending: str, parameter: float | None, power: float,
    form: str, as_json: bool, curve: bool, out: Path | None,
) -> None:  # fmt: skip
    """Bounds for looks at data that still come, and how much more data they cost."""
    from analysis import looks as bounds
    from analysis import power_looks_report as report

    try:
        if (number is None) == (at is None):
            raise ValueError("say --looks or --at, and not both")
        times = bounds.equal_looks(number) if number is not None else tuple(float(each) for each in str(at).split(","))
        design = bounds.looks(times, alpha, spending, sides=sides, parameter=parameter)
        planned = report.Planned(design, bounds.inflation(design, power), power, parameter)
        printed(report.rendered(planned, "json" if as_json else form, curve), out)
    except (ValueError, ZeroDivisionError) as error:
        refuse(str(error) if not isinstance(error, ZeroDivisionError) else "there must be at least one look")
    except OSError as error:
        refuse(f"{out}: {error.strerror or error}: choose another --out")
