"""`understudy load`: requests at a constant rate against one service, and its latencies as they come.

Open loop, like the replay: a request is due when the rate says so, whether or not earlier ones have been answered, and
its latency counts from then, so a slow server cannot hide its queue (coordinated omission). What the load itself was
late is told beside. Requests, rate, connections and time are bounded, and the target is this machine unless said
otherwise. Next module: `shadow.load_users`, whom it asks for.
"""

from __future__ import annotations

import ipaddress
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from shadow.replay.cli import show
from shadow.replay.requests import ReplayError, address

if TYPE_CHECKING:
    from shadow.replay.tally import Tally

GRACE_SECONDS: Final = 30.0
"""How much longer than planned it may take, deadlines of the last requests included."""
TELL_SECONDS: Final = 1.0


@click.command()
@click.option("--to", "target", required=True, help="http://host:port of a bento or a router.")
@click.option("--requests", "count", type=click.IntRange(1, 1_000_000), default=1_000, show_default=True)
@click.option("--rps", type=click.FloatRange(0.1, 20_000), default=100.0, show_default=True, help="Requests a second.")
@click.option("-k", type=click.IntRange(1, 100), default=10, show_default=True, help="Items of a list.")
@click.option(
    "--users",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="User ids to ask for in turn: a JSON list (a bundle's user_ids.json), or one a line [the served bento's].",
)
@click.option("--connections", type=click.IntRange(1, 1024), default=64, show_default=True)
@click.option("--allow-remote", is_flag=True, help="Also another machine than this one.")
@click.option("--json-out", type=click.Path(path_type=Path, dir_okay=False), help="The counts as JSON.")
def load(
    target: str,
    count: int,
    rps: float,
    k: int,
    users: Path | None,
    connections: int,
    allow_remote: bool,
    json_out: Path | None,
) -> None:
    """Ask at a constant rate; each second, and for all of it, p50, p95 and p99. Exit 1 when one got no answer."""
    import asyncio

    import msgspec

    from shadow.load_users import users as users_of
    from shadow.replay.client import Replay
    from shadow.replay.requests import Recorded

    try:
        host, port = address(target)
        ensure_local(host, allow_remote)
        ids, whom = users_of(users, host, port)
    except ReplayError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    click.echo(f"users: {whom}", err=True)
    now_us = time.time_ns() // 1_000
    requests = [Recorded(now_us, ids[number % len(ids)], k) for number in range(count)]
    due = [number / rps for number in range(count)]

    async def run() -> int:
        telling = asyncio.create_task(tell(client.tally))
        try:
            return await client.play(requests, due, due[-1] + GRACE_SECONDS, (signal.SIGINT, signal.SIGTERM))
        finally:
            telling.cancel()

    client = Replay(host, port, connections, lambda: None)
    stopped = asyncio.run(run())
    document = client.tally.document()
    if json_out:
        json_out.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    show(client.tally, document)
    late = document["late_ms"]
    click.echo(
        f"  sent late by ms: p50 {late['p50']:.1f}  p95 {late['p95']:.1f}  p99 {late['p99']:.1f} (in the latency)"
    )
    sys.exit(128 + stopped if stopped else int(bool(client.tally.errors)))


def ensure_local(host: str, allow_remote: bool) -> None:
    """`ReplayError` when `host` is another machine and that was not allowed."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not (local or allow_remote):
        raise ReplayError(f"{host} is not this machine; --allow-remote says that its owner agrees to the load")


async def tell(tally: Tally) -> None:
    """A line a second: what was sent and answered in it, and how fast."""
    import asyncio

    from shadow.replay.tally import quantiles_ms

    click.echo("   s     sent  answered  errors   p50 ms   p95 ms   p99 ms")
    sent = answered = errors = second = 0
    while True:
        await asyncio.sleep(TELL_SECONDS)
        second += 1
        part = tally.latencies[answered:]
        found = quantiles_ms(part)
        figures = "".join(f"{found[name]:9.1f}" for name in ("p50", "p95", "p99")) if part else "        –" * 3
        failed = sum(tally.errors.values())
        click.echo(f"{second:4}{tally.sent - sent:9,}{len(part):10,}{failed - errors:8,}{figures}")
        sent, answered, errors = tally.sent, answered + len(part), failed
