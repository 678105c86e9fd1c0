"""`understudy gate`: read a pair log, judge it by a plan, write the report in three forms, exit by the verdict."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from analysis.judging import Inputs
    from analysis.report.result import Result

USAGE = 2


def _named_directory(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Each ARM=DIR as a pair."""
    pairs = [value.partition("=") for value in values]
    wrong = [value for value, (arm, sign, place) in zip(values, pairs, strict=True) if not (arm and sign and place)]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not ARM=DIR, for example primary=bundles/champion")
    return [(arm, Path(place)) for arm, _, place in pairs]


@click.command()
@click.argument("location")
@click.option("--plan", required=True, type=click.Path(path_type=Path), help="The plan: metrics, margins, floors.")
@click.option("--catalogue", required=True, type=click.Path(path_type=Path), help="catalogue.parquet of the bundle.")
@click.option("--experiment", default=None, help="Which experiment of the log; needed when it holds several.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory for report.json, .md and .html.")
@click.option(
    "--bundle", "bundles", multiple=True, metavar="ARM=DIR", callback=_named_directory, help="Checks versions."
)
@click.option("--processes", type=click.IntRange(1), help="How many read the log; as many as there are processors.")
@click.option("--scheduler", metavar="tcp://…", help="Read the log on the workers of this Dask scheduler instead.")
@click.option("--plan-sha256", default="", help="The plan's hash from before the data; another plan is an ERROR.")
@click.option("--termination-log", type=click.Path(path_type=Path), help="For a Job: leave the verdict here (4 KiB).")
@click.option("--report-url", default="", help="Where the report will be found, for the termination log.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 also for HOLD and INCONCLUSIVE.")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of the summary.")
def gate(
    location: str,
    plan: Path,
    catalogue: Path,
    experiment: str | None,
    out: Path,
    bundles: list[tuple[str, Path]],
    processes: int | None,
    scheduler: str | None,
    plan_sha256: str,
    termination_log: Path | None,
    report_url: str,
    exit_zero: bool,
    as_json: bool,
) -> None:
    """Judge the pair log at LOCATION (a directory or file:// URL) by a plan.

    Exits 0 for PASS, 1 for HOLD, 3 for INCONCLUSIVE, 4 for ERROR (the log cannot be judged), 2 for a usage error.
    """
    from analysis.inputs import InputError, read_inputs
    from analysis.mapping import SchedulerError
    from analysis.report.result import to_json
    from analysis.report.terminal import to_lines
    from analysis.termination import message
    from analysis.verdict import ERROR, EXIT_CODES

    try:
        inputs = read_inputs(plan, catalogue, bundles, plan_sha256)
        result = _judged(location, experiment, inputs, processes or os.cpu_count() or 1, scheduler)
        _write(result, out)
        if termination_log:
            termination_log.write_bytes(message(result, to_json(result), report_url))
    except (InputError, SchedulerError) as error:
        _fail(str(error), termination_log)
    except OSError as error:
        place = error.filename or out
        _fail(
            f"{place}: {error.strerror or error}: the report cannot be written, choose another --out", termination_log
        )
    if result.verdict == ERROR:
        click.echo(f"error: {'; '.join(result.reasons)}", err=True)
    if as_json:
        click.echo(to_json(result).decode(), nl=False)
    else:
        click.echo("\n".join([*to_lines(result), "", f"report: {out / 'report.html'}"]))
    code = EXIT_CODES[result.verdict]
    sys.exit(0 if exit_zero and result.verdict != ERROR else code)


def _judged(location: str, experiment: str | None, inputs: Inputs, processes: int, scheduler: str | None) -> Result:
    """The result; a location that holds no pair log is judged too, as ERROR."""
    from analysis.judging import judge_rows, not_judged
    from analysis.mapping import read_log
    from shadow.segments import PairLogError, read_pairs
    from shadow.watermark import watermark_among

    try:
        log = read_pairs(location, experiment)
        # While routers live, what they still hold would be missing from the end: slow answers first.
        mark = watermark_among(log.incarnations)
        rows, health = read_log(log, inputs.plan.adapter, inputs.items, processes, scheduler)
        return judge_rows(rows, inputs, experiment or "", health, mark.arrival_us if mark.live else None)
    except PairLogError as error:
        return not_judged(inputs, experiment or "", str(error))


def _write(result: Result, out: Path) -> None:
    """The three forms: all written, then each replaced in one step, the JSON last, for machines wait for it.

    `OSError` when the disk is full; then the forms that are there are whole, and those of before.
    """
    from analysis.report.html import to_html
    from analysis.report.markdown import to_markdown
    from analysis.report.result import to_json

    out.mkdir(parents=True, exist_ok=True)
    forms = {"report.md": to_markdown(result).encode(), "report.html": to_html(result).encode()}
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out) as scratch:
        for name, content in (forms | {"report.json": to_json(result)}).items():
            (Path(scratch) / name).write_bytes(content)
        for name in (*forms, "report.json"):
            (Path(scratch) / name).replace(out / name)


def _fail(text: str, termination_log: Path | None = None) -> None:
    """End as a usage error; a Job tells its reason, too, if its termination log can be written."""
    if termination_log:
        from analysis.termination import failure

        with contextlib.suppress(OSError):
            termination_log.write_bytes(failure(text))
    click.echo(f"error: {text}", err=True)
    sys.exit(USAGE)
