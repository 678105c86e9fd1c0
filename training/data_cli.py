"""The commands about data: fetch it, describe it, cut facts and requests from it, make it up.

Heavy libraries are imported inside the commands, so that `--help` stays fast. Next module: `training.synth_cli`.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from training.command_parts import data_option, data_set, fetched, path_option, told
from training.movielens import PUBLISHED
from training.synth_cli import synth


@click.group()
def data() -> None:
    """Fetch and describe the MovieLens data."""


@data.command("fetch")
@click.argument("name", type=click.Choice(list(PUBLISHED)), default="ml-1m")
@told
def data_fetch(name: str) -> None:
    """Fetch a MovieLens data set into the cache, verified by SHA-256; says the terms of its licence."""
    fetched(name)


@data.command("describe")
@data_option
@told
def data_describe(source: str) -> None:
    """Print sizes, period and the two cuts; lines that were left out; whether it is synthetic.

    A user has rated a film once: of several lines the earliest counts, so that no later one changes what was known.
    """
    from training.interactions import POSITIVE

    found = data_set(source)
    split = found.split
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    click.echo(f"{'part':12}{'ratings':>10}{'positives':>11}{'users':>9}{'items':>8}  from              to (UTC)")
    for name, part in parts.items():
        users, items = (len(each) for each in (part.known.users, part.known.items))
        span = f"{_utc(int(part.timestamp_us.min()))}  {_utc(int(part.timestamp_us.max()))}"
        positives = int((part.rating >= POSITIVE).sum())
        click.echo(f"{name:12}{len(part):>10,}{positives:>11,}{users:>9,}{items:>8,}  {span}")
    if found.interactions.repeated:
        click.echo(f"{found.interactions.repeated:,} lines left out: the user had rated the film before")
    if found.tags.path:
        click.echo(f"{len(found.tags):,} tags")
    if found.synthetic:
        click.echo(found.synthetic)


@data.command("facts")
@click.option("--until", type=click.Choice(["train", "train+validation"]), default="train", show_default=True)
@click.option("--out", type=path_option(dir_okay=False), required=True)
@data_option
@told
def data_facts(until: str, out: Path, source: str) -> None:
    """Write what users did before the cut, for the feature store."""
    from training.export import write_facts

    found = data_set(source)
    rows = write_facts(out, found.fitting(until)[0], found.synthetic)
    click.echo(f"{rows:,} ratings before the cut → {out}")


@data.command("requests")
@click.option("--out", type=path_option(dir_okay=False), required=True)
@click.option("--events", is_flag=True, help="The ratings too, for `understudy replay --events`.")
@data_option
@told
def data_requests(out: Path, events: bool, source: str) -> None:
    """Write the requests of the validation period (for ml-1m 2-29 December 2000): after all that a model may see."""
    from training.export import events_of, requests_of, with_events, write_requests

    period = data_set(source).split.validation
    requests = requests_of(period)
    write_requests(out, with_events(requests, events_of(period)) if events else requests)
    users = len({request.user_id for request in requests})
    first, last = _utc(requests[0].event_time_us), _utc(requests[-1].event_time_us)
    click.echo(f"{len(requests):,} requests of {users:,} users, {first} to {last} UTC → {out}")
    if events:
        click.echo(f"{len(period):,} ratings between them, as events")


def _utc(microseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(microseconds / 1e6))


data.add_command(synth)
