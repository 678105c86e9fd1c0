"""`understudy plan margins`: the guardrails of a plan, with margins and reasons, from the champion's own log."""

from __future__ import annotations

import math
import os
from pathlib import Path

import click

from analysis.power_cli import refuse

EXAMPLE = """\b
Example:
  $ understudy plan margins .understudy/demo/pairs --experiment demo-self \\
      --catalogue .understudy/demo/bundles/champion/catalogue.parquet >> plans/next.yaml
"""


@click.command(epilog=EXAMPLE)
@click.argument("location")
@click.option("--catalogue", required=True, type=click.Path(path_type=Path), help="catalogue.parquet of the bundle.")
@click.option("--experiment", default=None, help="Which experiment of the log; needed when it holds several.")
@click.option("--metric", "metrics", multiple=True, help="A guardrail; default: those that a plan has by default.")
@click.option("--users", type=click.IntRange(1, 10**9), help="Users of the trial to come; default: those of the log.")
@click.option("--alpha", type=click.FloatRange(1e-6, 0.5, max_open=True), default=0.05, show_default=True,
              help="Of each guardrail, one-sided.")  # fmt: skip
@click.option("--deadline-ms", type=click.FloatRange(0, min_open=True), default=2000.0, show_default=True,
              help="The arms' deadline.")  # fmt: skip
@click.option("--adapter", default="ranked_list", show_default=True, help="How answers are read.")
@click.option("--processes", type=click.IntRange(1), help="How many read the log; as many as there are processors.")
def margins(
    location: str,
    catalogue: Path,
    experiment: str | None,
    metrics: tuple[str, ...],
    users: int | None,
    alpha: float,
    deadline_ms: float,
    adapter: str,
    processes: int | None,
) -> None:
    """Derive margins from the champion's own week-to-week variation, as the `metrics:` of a plan.

    LOCATION is a pair log of the champion with a control, three weeks at least, from before the trial (a control needs
    no shadow). A margin is the root mean square of the changes from one week to the next, without what other users in
    the one than in the other make; a rate that should be nothing gets what the users of the trial can exclude at least.
    Exits 2 when no margin can be told.
    """
    from analysis.adapters import ADAPTERS
    from analysis.inputs import InputError, read_catalogue
    from analysis.load import join
    from analysis.mapping import read_log
    from analysis.margins import MarginError
    from analysis.margins_text import margins as derived
    from analysis.margins_text import to_yaml
    from analysis.measures import GUARDRAILS, MEASURES
    from analysis.plan import nearest
    from shadow.segments import PairLogError, read_pairs
    from shadow.watermark import watermark_among

    for option, number in (("--alpha", alpha), ("--deadline-ms", deadline_ms)):
        if not math.isfinite(number):
            refuse(f"{option} must be a number, not {number}")
    for given, known in ((metrics, MEASURES), ((adapter,), ADAPTERS)):
        for name in given:
            if name not in known:
                refuse(f"unknown {name!r}{nearest(name, known)}; known are {', '.join(known)}")
    try:
        items, _ = read_catalogue(catalogue)
        log = read_pairs(location, experiment)
        mark = watermark_among(log.incarnations)
        until = mark.arrival_us if mark.live else None
        rows, _ = read_log(log, adapter, items, processes or os.cpu_count() or 1)
        rows = rows if until is None else rows.take(rows.arrival_us < until)
        triples, _ = join(rows, items)
        text = to_yaml(
            derived(
                triples, tuple(dict.fromkeys(metrics)) or GUARDRAILS, deadline_ms=deadline_ms, alpha=alpha, users=users
            )
        )
    except (InputError, PairLogError, MarginError) as error:
        refuse(str(error))
    click.echo(text, nl=False)
