"""`understudy replay`: requests again, from a file, an access log or a pair log, with event time in a header.

Open loop: a request is due when its rhythm says so, whether or not earlier ones have been answered, and its latency
counts from then: a slow server cannot hide its queue (coordinated omission). Connections, requests, rate and time are
bounded. Next module: `shadow.replay.plan`, what is sent when.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from shadow.replay.compare import Found
    from shadow.replay.plan import Plan
    from shadow.replay.tally import Tally

GRACE_SECONDS: Final = 30.0
"""How much longer than planned a replay may take, deadlines of the last requests included."""
_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUT: Final = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--requests", type=_FILE, help="A requests file (`understudy data requests`).")
@click.option("--access-log", type=_FILE, help="Or an access log in the Combined Log Format: its GETs.")
@click.option("--prefix", default="/recommend", show_default=True, help="Of an access log: targets that begin so.")
@click.option("--pairs", help="Or a pair log: what a router saw. Needs --users and UNDERSTUDY_UNIT_KEY.")
@click.option("--experiment", help="Of a pair log: only this one.")
@click.option("--users", type=_FILE, help="Of a pair log: all user ids, a JSON list or one a line.")
@click.option("--compare", help="Of a pair log: tell where answers differ from those of this side: primary, or an arm.")
@click.option("--to", "target", required=True, help="http://host:port of the router, or of a bento.")
@click.option(
    "--rhythm",
    type=click.Choice(["real", "constant", "daily"]),
    default="real",
    show_default=True,
    help="The gaps of event time; --rps evenly; --rps in the mean, more by day than by night.",
)
@click.option("--speed", type=click.FloatRange(1e-3, 1e7), default=1.0, show_default=True, help="Of real, daily.")
@click.option("--seconds", type=click.FloatRange(0.1, 86_400), help="Of real: the speed that takes so long.")
@click.option("--rps", type=click.FloatRange(0.01, 20_000), default=100.0, show_default=True, help="Requests a second.")
@click.option("--peak", type=click.FloatRange(1, 1.9), default=1.6, show_default=True, help="Of daily: over the mean.")
@click.option("--max-rps", type=click.FloatRange(0.1, 20_000), default=150.0, show_default=True, help="Of real: bound.")
@click.option("--events", is_flag=True, help="Also POST the ratings in a requests file as events.")
@click.option("--connections", type=click.IntRange(1, 1024), default=16, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many requests.")
@click.option("--state", type=_OUT, help="Remember there how far it got; called again, it goes on from there.")
@click.option("--json-out", type=_OUT, help="The counts as JSON.")
def replay(**options: Any) -> None:
    """Replay requests; exit 1 when one got no answer at all, or a comparison found a difference."""
    import msgspec

    from shadow.replay.plan import Options, plan_of
    from shadow.replay.requests import ReplayError, address

    given = Options(**options)
    try:
        host, port = address(given.target)
        plan = plan_of(given)
        tell_plan(plan)
        stopped, tally = _play(plan, host, port, given.connections)
    except ReplayError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    document = tally.document()
    if plan.comparison:
        document["comparison"] = plan.comparison.found
    if given.json_out:
        given.json_out.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    show(tally, document)
    different = plan.comparison is not None and show_comparison(plan.comparison.found)
    sys.exit(128 + stopped if stopped else int(bool(tally.errors) or different))


def tell_plan(plan: Plan) -> None:
    """Say how many requests there are for how long: at real speed a month takes a month."""
    from datetime import timedelta

    if plan.due:
        planned = timedelta(seconds=round(plan.due[-1]))
        click.echo(f"{len(plan.requests):,} requests, the last is due after {planned}", err=True)


def _play(plan: Plan, host: str, port: int, connections: int) -> tuple[int, Tally]:
    """Send what is left; the signal that ended it (or 0), and the counts."""
    import asyncio

    from shadow.replay.client import Replay

    async def run() -> int:
        keeping = asyncio.ensure_future(plan.progress.keep(client.tally)) if plan.progress else None
        try:
            most = plan.due[-1] + GRACE_SECONDS
            return await client.play(plan.requests, plan.due, most, (signal.SIGINT, signal.SIGTERM))
        finally:
            if keeping:
                keeping.cancel()

    with _bar(len(plan.requests)) as advance:
        client = Replay(host, port, connections, advance, plan.comparison.look if plan.comparison else None)
        if plan.counts:
            client.tally.take_up(plan.counts)
        stopped = asyncio.run(run()) if plan.requests else 0
    if plan.progress:
        plan.progress.save(client.tally)
    return stopped, client.tally


def show(tally: Tally, document: dict[str, Any]) -> None:
    """Print the counts and latencies of one run."""
    latency = document["latency_ms"]
    rate = document["requests"] / max(document["seconds"], 1e-9)
    events = f", {tally.events:,} of them events" if tally.events else ""
    click.echo(
        f"{document['requests']:,} requests{events} in {document['seconds']:.1f} s ({rate:.0f} a second), "
        f"{document['answered']:,} answered, {document['empty']} empty"
    )
    if tally.latencies:
        click.echo(f"  latency ms: p50 {latency['p50']:.1f}  p95 {latency['p95']:.1f}  p99 {latency['p99']:.1f}")
    for title, counts in (("status", tally.statuses), ("source", tally.sources), ("error", tally.errors)):
        for key, number in sorted(counts.items()):
            click.echo(f"  {title:8}{key:16}{number:>10,}")


def show_comparison(found: Found) -> bool:
    """Print what was found; whether an answer differed."""
    from shadow.replay.compare import DIFFERENT

    click.echo("answers against the log")
    for title, number in sorted(found.counts.items()):
        click.echo(f"  {title:32}{number:>10,}")
    for place, number in sorted(found.places.items(), key=lambda each: -each[1]):
        click.echo(f"  differ first at {place:16}{number:>10,}")
    for example in found.examples:
        click.echo(f"  {example}")
    return bool(found.counts.get(DIFFERENT))


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    """A progress bar on a terminal, silence elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("replay", total=total)
        yield lambda: progress.advance(task)
