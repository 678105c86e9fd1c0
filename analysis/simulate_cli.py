"""`understudy simulate`: does the gate keep its promises? Seeded logs, judged, counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.rates import Rate

HEAD = ("promise", "setting", "runs", "found", "promised", "kept", "a test on requests")


@click.command()
@click.option("--seed", default=1, show_default=True, help="Equal seeds give equal numbers.")
@click.option("--full", is_flag=True, help="As in docs/simulation.md, some minutes; else a small run.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw detection against users and harm here (SVG).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print the table of docs/simulation.md.")
def simulate(seed: int, full: bool, plot: Path | None, as_json: bool, markdown: bool) -> None:
    """Judge seeded logs and hold the gate against its promises: errors, coverage, false PASSes, power.

    Exits 0 when every promise is kept and 1 when one is missed.
    """
    import msgspec

    from analysis.simulation import FULL, SMALL, steps
    from analysis.simulation import simulate as run

    size = FULL if full else SMALL
    with click.progressbar(length=steps(size), label="simulating", file=sys.stderr) as bar:
        rates = run(size, seed, lambda: bar.update(1))
    if plot is not None:
        _plot(plot, seed, full)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"seed": seed, "rates": rates}), indent=2).decode())
    else:
        click.echo("\n".join(to_markdown(rates) if markdown else to_lines(rates)))
    missed = sum(not each.kept for each in rates)
    if not as_json and not markdown:
        click.echo(f"\n{len(rates) - missed} of {len(rates)} promises kept (seed {seed})")
    sys.exit(1 if missed else 0)


def _plot(place: Path, seed: int, full: bool) -> None:
    from analysis.dose_plot import to_svg
    from analysis.dose_response import FULL, SMALL, detections, total

    size = FULL if full else SMALL
    with click.progressbar(length=total(size), label="detecting", file=sys.stderr) as bar:
        found = detections(size, seed, lambda: bar.update(1))
    place.write_text(to_svg(found))


def to_markdown(rates: Sequence[Rate]) -> list[str]:
    """The rows of a Markdown table."""
    rows = [HEAD, ("---",) * len(HEAD), *(_row(each) for each in rates)]
    return [f"| {' | '.join(row)} |" for row in rows]


def to_lines(rates: Sequence[Rate]) -> list[str]:
    """Aligned rows."""
    rows = [HEAD, *(_row(each) for each in rates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(each: Rate) -> tuple[str, ...]:
    promised = f"{each.least:.3g} to {each.most:.3g}"
    if each.least == 0:
        promised = f"at most {each.most:.3g}" if each.most < 1 else "–"
    elif each.most == 1:
        promised = f"at least {each.least:.3g}"
    naive = "" if each.naive is None else f"{each.naive:.3f}"
    return (
        each.promise,
        each.setting,
        str(each.runs),
        f"{each.found:.4f}",
        promised,
        "yes" if each.kept else "NO",
        naive,
    )
