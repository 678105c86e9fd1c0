"""`understudy replay`: send recorded requests again, compressed in time, event time in a header.

Open loop: a request is due when its event time says so (or when the rate's bound allows), whether or not earlier ones
have been answered, and its latency counts from then: a slow server cannot hide its queue (coordinated omission).
Connections, requests and time are bounded. Next module: `shadow.replay_client`, the connections.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from shadow.replay_client import Recorded, Tally

GRACE_SECONDS = 30.0
"""How much longer than planned a replay may take, deadlines of the last requests included."""


class ReplayError(Exception):
    """A requests file or a target that cannot be used."""


@click.command()
@click.option("--requests", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--to", "target", required=True, help="http://host:port of the router.")
@click.option("--seconds", type=click.FloatRange(min=0.1, max=86_400), default=80.0, show_default=True)
@click.option("--max-rps", type=click.FloatRange(min=0.1), default=150.0, show_default=True)
@click.option("--connections", type=click.IntRange(1, 1024), default=16, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many requests.")
@click.option("--json-out", type=click.Path(path_type=Path, dir_okay=False), help="The counts as JSON.")
def replay(
    file: Path, target: str, seconds: float, max_rps: float, connections: int, limit: int | None, json_out: Path | None
) -> None:
    """Replay the requests of FILE; exit 1 when one got no answer at all."""
    import asyncio

    import msgspec

    from shadow.replay_client import Replay

    try:
        requests = read_requests(file)[:limit]
        host, port = address(target)
        due = schedule([request.event_time_us for request in requests], seconds, max_rps)
    except ReplayError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    with _bar(len(requests)) as progress:
        run = Replay(host, port, connections, progress)
        stopped = asyncio.run(run.play(requests, due, due[-1] + GRACE_SECONDS, (signal.SIGINT, signal.SIGTERM)))
    document = run.tally.document()
    if json_out:
        json_out.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    show(run.tally, document)
    sys.exit(128 + stopped if stopped else int(bool(run.tally.errors)))


def read_requests(path: Path) -> list[Recorded]:
    """The requests in `path`, one JSON object a line, ascending in time. `ReplayError` names the line."""
    import msgspec

    from shadow.replay_client import Recorded

    decoder = msgspec.json.Decoder(Recorded)
    requests: list[Recorded] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            request = decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ReplayError(f"{path}: line {number}: {error}") from error
        if requests and request.event_time_us < requests[-1].event_time_us:
            raise ReplayError(
                f"{path}: line {number} is earlier than the line before it; sort the file by event_time_us"
            )
        requests.append(request)
    if not requests:
        raise ReplayError(f"{path}: no requests in it")
    return requests


def schedule(event_times_us: list[int], seconds: float, max_rps: float) -> list[float]:
    """When each request is due, in seconds from the start: the span of event time shrunk to `seconds`.

    A burst faster than `max_rps` is spread out, so the end may come later than `seconds`.
    """
    first = event_times_us[0]
    span = max(1, event_times_us[-1] - first)
    due: list[float] = []
    for time_us in event_times_us:
        wanted = (time_us - first) / span * seconds
        due.append(max(wanted, due[-1] + 1 / max_rps) if due else wanted)
    return due


def address(target: str) -> tuple[str, int]:
    """Host and port of `target`; `ReplayError` when it is not http://host:port."""
    parts = urlsplit(target)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ReplayError(f"--to {target!r} is not http://host:port")
    return parts.hostname, parts.port or 80


def show(tally: Tally, document: dict[str, Any]) -> None:
    """Print the counts and latencies of one run."""
    latency = document["latency_ms"]
    rate = document["requests"] / max(document["seconds"], 1e-9)
    click.echo(
        f"{document['requests']:,} requests in {document['seconds']:.1f} s ({rate:.0f} a second), "
        f"{document['answered']:,} answered, {document['empty']} empty"
    )
    if document["answered"]:
        click.echo(f"  latency ms: p50 {latency['p50']:.1f}  p95 {latency['p95']:.1f}  p99 {latency['p99']:.1f}")
    for title, counts in (("status", tally.statuses), ("source", tally.sources), ("error", tally.errors)):
        for key, number in sorted(counts.items()):
            click.echo(f"  {title:8}{key:16}{number:>10,}")


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
