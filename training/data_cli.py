"""The commands about data, and what the room's other commands share with them: options, errors in one line.

Heavy libraries are imported inside the commands, so that `--help` stays fast. Next module: `training.cli`.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bentos.errors import BentosError, PromotionLostError
from training.errors import TrainingError
from training.movielens import PUBLISHED

if TYPE_CHECKING:
    from training.jobs import DataSet

LOST = 5
"""Exit code when another promotion was first: no error, no success, and no code of the gate."""
path_option = functools.partial(click.Path, path_type=Path)
data_option = click.option(
    "--data",
    "source",
    default="ml-1m",
    show_default=True,
    help=f"{', '.join(PUBLISHED)}, or a directory with MovieLens files (also of the 10M, 20M, 25M, 32M forms).",
)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the room's errors and bad input into one line and exit code 2, a lost promotion into exit code 5."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except PromotionLostError as error:
            click.secho(str(error), fg="yellow", err=True)
            sys.exit(LOST)
        except (TrainingError, BentosError, ValueError, OSError) as error:
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(2)

    return run


@click.group()
def data() -> None:
    """Fetch and describe the MovieLens data."""


@data.command("fetch")
@click.argument("name", type=click.Choice(list(PUBLISHED)), default="ml-1m")
@told
def data_fetch(name: str) -> None:
    """Fetch a MovieLens data set into the cache, verified by SHA-256; says the terms of its licence."""
    _fetch(name)


@data.command("describe")
@data_option
@told
def data_describe(source: str) -> None:
    """Print sizes, period and the two cuts."""
    split = data_set(source).split
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    click.echo(f"{'part':12}{'ratings':>10}{'positives':>11}{'users':>8}{'items':>8}  from              to (UTC)")
    for name, part in parts.items():
        users, items = len(set(part.user.tolist())), len(set(part.item.tolist()))
        span = f"{_utc(int(part.timestamp_us.min()))}  {_utc(int(part.timestamp_us.max()))}"
        click.echo(f"{name:12}{len(part):>10,}{len(part.positives):>11,}{users:>8,}{items:>8,}  {span}")


@data.command("facts")
@click.option("--until", type=click.Choice(["train", "train+validation"]), default="train", show_default=True)
@click.option("--out", type=path_option(dir_okay=False), required=True)
@data_option
@told
def data_facts(until: str, out: Path, source: str) -> None:
    """Write what users did before the cut, for the feature store."""
    from training.export import write_facts

    rows = write_facts(out, data_set(source).fitting(until)[0])
    click.echo(f"{rows:,} ratings before the cut → {out}")


@data.command("requests")
@click.option("--out", type=path_option(dir_okay=False), required=True)
@data_option
@told
def data_requests(out: Path, source: str) -> None:
    """Write the requests of the validation period (for ml-1m 2-29 December 2000): after all that a model may see."""
    from training.export import requests_of, write_requests

    requests = requests_of(data_set(source).split.validation)
    write_requests(out, requests)
    users = len({request.user_id for request in requests})
    first, last = _utc(requests[0].event_time_us), _utc(requests[-1].event_time_us)
    click.echo(f"{len(requests):,} requests of {users:,} users, {first} to {last} UTC → {out}")


def _fetch(name: str) -> Path:
    from training.fetching import fetch
    from training.settings import TrainingSettings

    published = PUBLISHED[name]
    with _download_bar() as progress:
        directory = fetch(published, TrainingSettings.load().data_dir, click.echo, progress)
    click.echo(f"{published.title}: verified, {directory}\n{published.acknowledgement}")
    return directory


def data_set(source: str) -> DataSet:
    """The data set by name, fetched if need be and silent when it is there, or from a directory."""
    from training.jobs import DataSet
    from training.settings import TrainingSettings

    cache = TrainingSettings.load().data_dir
    if source not in PUBLISHED:
        return DataSet.read(Path(source), cache)
    published = PUBLISHED[source]
    directory = cache / source
    return DataSet.read(_fetch(source) if published.unverified(directory) else directory, cache, published.digest)


def _utc(microseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(microseconds / 1e6))


@contextmanager
def _download_bar() -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("download"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("download", total=None)
        yield lambda got, expected: progress.update(task, completed=got, total=expected or None)
