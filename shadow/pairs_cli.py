"""`understudy pairs`: look into a pair log. Reads through `shadow.segments` and shows; judges nothing.

Next module: `shadow.replay`.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from shadow.contracts import PairRecord
    from shadow.segments import PairLog

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

    log = _open(location, experiment)
    arms = _count(log)
    health = log.health
    if as_json:
        document = {"arms": arms, "health": msgspec.to_builtins(health), "problems": health.problems()}
        click.echo(msgspec.json.encode(document))
        return
    for name, arm in sorted(arms.items()):
        click.secho(f"{name}: {sum(arm['outcomes'].values()):,} records", bold=True)
        for title in ("outcomes", "primary_status", "arm_status"):
            for key, number in sorted(arm[title].items(), key=lambda each: -each[1]):
                click.echo(f"  {title.replace('_', ' '):16}{key:24}{number:>10,}")
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
    """Print the records of one request."""
    found = [record for record in _reading(_open(location, experiment)) if record.request_id == request_id]
    _print(found)
    if not found:
        _fail(f"{location}: no record of request {request_id!r}")


@pairs.command()
@location_argument
@click.option("-n", "--number", type=click.IntRange(min=1, max=10_000), default=5, show_default=True)
@experiment_option
def tail(location: str, number: int, experiment: str | None) -> None:
    """Print the last records."""
    _print(deque(_reading(_open(location, experiment)), maxlen=number))


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


def _open(location: str, experiment: str | None) -> PairLog:
    from shadow.segments import PairLogError, read_pairs

    try:
        return read_pairs(location, experiment)
    except PairLogError as error:
        _fail(str(error))


def _reading(log: PairLog) -> Iterator[PairRecord]:
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
