"""`understudy pairs`: look into a pair log. Reads through `shadow.segments` and shows; judges nothing.

Next module: `shadow.replay.cli`.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from shadow.contracts import Exposure
    from shadow.segments import Log, PairLog, Record

location_argument = click.argument("location")
experiment_option = click.option("--experiment", help="Only this experiment of the log.")


@click.group()
def pairs() -> None:
    """Look into a pair log."""


@pairs.command()
@location_argument
@experiment_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def stats(location: str, experiment: str | None, as_json: bool) -> None:
    """Count records per arm, outcome and status, and say what is wrong with the log."""
    import msgspec

    from shadow.segments import read_exposures, read_pairs

    log = _open(read_pairs, location, experiment)
    arms = _count(log)
    health = log.health
    exposures = _count_exposures(_open(read_exposures, location, experiment)) if health.other_kind else {}
    if as_json:
        health_document = msgspec.to_builtins(health)
        document = {"arms": arms, "exposures": exposures, "health": health_document, "problems": health.problems()}
        click.echo(msgspec.json.encode(document))
        return
    for name, arm in sorted(arms.items()):
        click.secho(f"{name}: {sum(arm['outcomes'].values()):,} records", bold=True)
        for title in ("outcomes", "primary_status", "arm_status"):
            for key, number in sorted(arm[title].items(), key=lambda each: -each[1]):
                click.echo(f"  {title.replace('_', ' '):16}{key:24}{number:>10,}")
    for assigned, row in sorted(exposures.items()):
        click.secho(f"assigned to {assigned}: {sum(row.values()):,} exposures", bold=True)
        for served, number in sorted(row.items()):
            click.echo(f"  answered by     {served or '(nobody)':24}{number:>10,}")
    state = "complete" if health.complete else "not complete"
    sizes = f"{health.segments} segments, {health.bytes / 1e6:.1f} MB, {health.incarnations} router incarnations"
    click.echo(f"log: {sizes}, {state}")
    for problem in health.problems():
        click.secho(f"  ! {problem}", fg="yellow")


@pairs.command()
@location_argument
@click.argument("request_id")
@experiment_option
def show(location: str, request_id: str, experiment: str | None) -> None:
    """Print the records of one request, an exposure among them."""
    from shadow.segments import read_exposures, read_pairs

    logs = (_open(read, location, experiment) for read in (read_pairs, read_exposures))
    found = [record for log in logs for record in _reading(log) if record.request_id == request_id]
    _print(found)
    if not found:
        _fail(f"{location}: no record of request {request_id!r}")


@pairs.command()
@location_argument
@click.option("-n", "--number", type=click.IntRange(min=1, max=10_000), default=5, show_default=True)
@experiment_option
def tail(location: str, number: int, experiment: str | None) -> None:
    """Print the last pairs."""
    from shadow.segments import read_pairs

    _print(deque(_reading(_open(read_pairs, location, experiment)), maxlen=number))


def _count(log: PairLog) -> dict[str, Any]:
    arms: dict[str, dict[str, Counter[str]]] = {}
    for record in _reading(log):
        arm = arms.setdefault(record.arm, {key: Counter() for key in ("outcomes", "primary_status", "arm_status")})
        arm["outcomes"][record.outcome] += 1
        if record.primary is not None:
            arm["primary_status"][record.primary.error or str(record.primary.status)] += 1
        if record.arm_answer is not None:
            arm["arm_status"][record.arm_answer.error or str(record.arm_answer.status)] += 1
    return arms


def _count_exposures(log: Log[Exposure]) -> dict[str, dict[str, int]]:
    """By the arm assigned, then by the arm that answered ("" for none)."""
    found: dict[str, Counter[str]] = {}
    for record in _reading(log):
        found.setdefault(record.assigned, Counter())[record.served] += 1
    return {assigned: dict(row) for assigned, row in found.items()}


def _open(read: Callable[[str, str | None], Log[Record]], location: str, experiment: str | None) -> Log[Record]:
    from shadow.segments import PairLogError

    try:
        return read(location, experiment)
    except PairLogError as error:
        _fail(str(error))


def _reading(log: Log[Record]) -> Iterator[Record]:
    try:
        yield from log
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")


def _print(records: Any) -> None:
    import msgspec

    for record in records:
        click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2))


def _fail(text: str) -> NoReturn:
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(2)
