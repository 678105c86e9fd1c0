"""`understudy pairs`: look into a pair log, make it Parquet, erase a user from it. Judges nothing.

Next module: `shadow.pairs_view`, how records look to people.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

location_argument = click.argument("location")
experiment_option = click.option("--experiment", help="Only this experiment of the log.")
json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group()
def pairs() -> None:
    """Look into a pair log, make it Parquet, erase a user from it.

    LOCATION is a directory, file:///…, or a bucket (s3://…, gs://…, az://…) with its credentials in the environment.
    """


@pairs.command()
@location_argument
@experiment_option
@json_option
def stats(location: str, experiment: str | None, as_json: bool) -> None:
    """Count records per arm, outcome and status; say how far the log is complete and what is wrong with it."""
    import msgspec

    from shadow.contracts import Exposure
    from shadow.pairs_view import count, count_exposures, stats_table
    from shadow.segments import Log, read_pairs
    from shadow.watermark import watermark_among

    with told():
        log = read_pairs(location, experiment)
        arms, health = count(log), log.health
        exposures = count_exposures(Log(log.incarnations, Exposure)) if health.other_kind else {}
        mark = watermark_among(log.incarnations)
    if as_json:
        document = {"arms": arms, "exposures": exposures, "health": health, "watermark": mark}
        click.echo(msgspec.json.encode(document | {"problems": health.problems()}))
        return
    for line in stats_table(arms, exposures, health, mark):
        click.echo(line)
    for problem in health.problems():
        click.secho(f"  ! {problem}", fg="yellow")


@pairs.command()
@location_argument
@click.argument("request_id")
@experiment_option
@json_option
def show(location: str, request_id: str, experiment: str | None, as_json: bool) -> None:
    """Print both answers to one request side by side, and what differs; an exposure among them."""
    from shadow.contracts import Exposure
    from shadow.incarnations import find_incarnations
    from shadow.pairs_view import as_document, side_by_side
    from shadow.segments import Reading

    with told():
        reading, incarnations = Reading(), find_incarnations(location, experiment)
        records = (record for incarnation in incarnations for record in reading.records(incarnation))
        found = [record for record in records if record.request_id == request_id]
    found.sort(key=lambda record: isinstance(record, Exposure))
    for record in found:
        click.echo(as_document(record) if as_json else "\n".join(side_by_side(record)))
    if not found:
        _fail(f"{location}: no record of request {request_id!r}")


@pairs.command()
@location_argument
@click.option("-n", "--number", type=click.IntRange(min=0, max=10_000), default=5, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Between two looks.")
@experiment_option
@json_option
def tail(location: str, number: int, follow: bool, seconds: float, experiment: str | None, as_json: bool) -> None:
    """Print the last records, pairs and exposures, one a line; with -f those that come, too.

    Followed are open segments as well, so a shipper's spool shows what came a second ago.
    """
    from shadow.pairs_tail import Tail
    from shadow.pairs_view import as_document, one_line

    shown = as_document if as_json else one_line
    with told():
        tailing = Tail(location, experiment)
        for record in tailing.last(number):
            click.echo(shown(record))
        if follow:
            for record in tailing.coming(seconds):
                click.echo(shown(record))


@pairs.command()
@location_argument
@click.argument("out")
@experiment_option
@click.option(
    "--retain-days",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Leave out and remove days of event time that ended longer ago. Default 0: none are.",
)
@click.option("--keep-expired", is_flag=True, help="Keep what was made of routers whose log is gone from LOCATION.")
@json_option
def compact(
    location: str, out: str, experiment: str | None, retain_days: float, keep_expired: bool, as_json: bool
) -> None:
    """Write the log as Parquet to OUT (a directory or bucket that is there), by day of event time.

    A second run makes anew what has changed, removes what is gone, and goes on where one was cut off.
    """
    import msgspec

    from shadow.compaction import compact as run
    from shadow.pairs_view import watermark_lines

    with told():
        state = run(location, out, experiment, retain_days, keep_expired)
    if as_json:
        click.echo(msgspec.json.encode(state))
        return
    files = [file for router in state.routers.values() for file in router.files]
    click.echo(f"{sum(file.rows for file in files):,} records in {len(files)} files at {out}")
    click.echo(f"{state.made} of {len(state.routers)} router incarnations made anew, {state.removed} files removed")
    for experiment_name, mark in state.watermarks.items():
        for line in watermark_lines(mark):
            click.echo(f"{experiment_name}: {line.lstrip()}")
    for name, router in state.routers.items():
        for problem in router.problems:
            click.secho(f"  ! {name}: {problem}", fg="yellow")


@pairs.command()
@location_argument
@click.option("--unit", "units", multiple=True, help="As records have it: 32 hexadecimal digits. May be repeated.")
@click.option("--user-id", "users", multiple=True, help="Hashed with UNDERSTUDY_UNIT_KEY; - reads lines from stdin.")
@click.option("--compacted", help="Parquet made of this log, to be erased from as well.")
@json_option
def erase(location: str, units: tuple[str, ...], users: tuple[str, ...], compacted: str | None, as_json: bool) -> None:
    """Erase all records of users from a log: segments, manifests and Parquet.

    Routers that may still write are left as they are and named; the exit code is then 1: run it again later.
    """
    import msgspec

    from shadow.compaction import erase_compacted
    from shadow.erasure import erase_units

    with told():
        chosen = frozenset(units) | _hashed(users)
        if not chosen:
            _fail("nobody to erase: give --unit or --user-id")
        erased = erase_units(location, chosen)
        rows = erase_compacted(compacted, chosen) if compacted else 0
    if as_json:
        click.echo(msgspec.json.encode(msgspec.to_builtins(erased) | {"rows": rows}))
    else:
        click.echo(f"{erased.records:,} records erased from {len(erased.segments)} segments, {rows:,} rows of Parquet")
        for names, text in (
            (erased.damaged, "held bytes that could not be read; they are gone too"),
            (erased.left, "may still be written to: left as it is, run this again when its router has ended"),
        ):
            for name in names:
                click.secho(f"  ! {name}: {text}", fg="yellow")
        if erased.uncounted:
            click.secho(f"  ! {erased.uncounted} of them no manifest counts: they will read as missing", fg="yellow")
    sys.exit(1 if erased.left else 0)


def _hashed(users: tuple[str, ...]) -> frozenset[str]:
    """The units of raw user ids. `ValueError` without the key."""
    from shadow.router.settings import RouterSettings
    from shadow.units import unit_of

    if not users:
        return frozenset()
    key = RouterSettings.load().unit_key
    given = [line.rstrip("\r\n") for user in users for line in (sys.stdin if user == "-" else (user,))]
    return frozenset(unit_of(user.encode(), key) for user in given if user)


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong with a log is one line and exit code 2."""
    from shadow.log_store import PairLogError

    try:
        yield
    except (PairLogError, ValueError) as error:
        _fail(str(error))


def _fail(text: str) -> NoReturn:
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(2)
