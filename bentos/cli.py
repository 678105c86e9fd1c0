"""The room's commands: `bento`, `features`, `redis`, `serve`. Thin: parse, settings, call, print.

Heavy libraries are imported inside the commands, so that `--help` stays fast.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bentos.errors import BentosError

path_option = functools.partial(click.Path, path_type=Path)
bundle_argument = click.argument("bundle", type=path_option(exists=True, file_okay=False))
redis_option = click.option("--redis", "url", default="redis://127.0.0.1:6379/0", show_default=True, help="Redis URL.")


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the room's errors into one line and exit code 2."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (BentosError, ValueError, OSError) as error:
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(2)

    return run


@click.group()
def bento() -> None:
    """Build a bento from a bundle."""


@bento.command("build")
@bundle_argument
@click.option("--name", help="Must be the bundle's name; refused otherwise.")
@click.option("--rebuild", is_flag=True, help="Build again though the tag is there (the code has changed).")
@told
def bento_build(bundle: Path, name: str | None, rebuild: bool) -> None:
    """Store BUNDLE as a model and build its bento; the last line printed is the tag."""
    from bentos.packaging import build_bento

    tag, built = build_bento(bundle, name, rebuild)
    click.echo("built" if built else "there already (--rebuild builds it again)", err=True)
    click.echo(tag)


@click.group()
def features() -> None:
    """Load, verify and drop the features of a bundle in Redis."""


@features.command("load")
@bundle_argument
@click.option("--facts", type=path_option(exists=True, dir_okay=False), help="What users did (understudy data facts).")
@redis_option
@told
def features_load(bundle: Path, facts: Path | None, url: str) -> None:
    """Load the vectors of BUNDLE, and the facts if given."""
    from bentos.bundle import load_bundle
    from bentos.feature_loading import connected, load_facts, load_vectors

    loaded = load_bundle(bundle)
    with connected(url) as client, _bar("features") as progress:
        started = time.perf_counter()
        users = load_facts(client, facts, progress) if facts else 0
        vectors = load_vectors(client, loaded, progress)
        rate = (users + vectors) / (time.perf_counter() - started)
    click.echo(f"{loaded.manifest.tag}: {vectors:,} vectors, facts of {users:,} users ({rate:,.0f} users/s)")


@features.command("verify")
@bundle_argument
@redis_option
@told
def features_verify(bundle: Path, url: str) -> None:
    """Compare every vector in Redis with BUNDLE; exit 1 when one is missing or differs."""
    from bentos.bundle import load_bundle
    from bentos.feature_loading import connected, verify_vectors

    loaded = load_bundle(bundle)
    with connected(url) as client:
        wrong = verify_vectors(client, loaded)
    if wrong:
        click.echo(f"{len(wrong):,} of {len(loaded.user_ids):,} vectors missing or different, first: user {wrong[0]}")
        sys.exit(1)
    click.echo(f"{loaded.manifest.tag}: all {len(loaded.user_ids):,} vectors are there")


@features.command("drop")
@click.argument("version")
@redis_option
@told
def features_drop(version: str, url: str) -> None:
    """Remove the vectors of the model VERSION (12 hex digits); facts stay."""
    from bentos.feature_loading import connected, drop_vectors

    with connected(url) as client:
        click.echo(f"{drop_vectors(client, version):,} vectors dropped")


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=6379, show_default=True)
@click.option(
    "--dir", "directory", type=path_option(file_okay=False), default=Path(".understudy/redis"), show_default=True
)
@told
def redis(port: int, directory: Path) -> None:
    """Run a Redis server on the loopback, in the foreground, keeping nothing on disk."""
    from bentos.redis_server import become_server
    from bentos.settings import search_path

    become_server(port, directory, search_path())


@click.command()
@click.argument("tag")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@redis_option
@click.option(
    "--feature-deadline-ms", type=click.FloatRange(min=0, min_open=True), help="How long to wait for features [5]."
)
@told
def serve(tag: str, host: str, port: int, url: str, feature_deadline_ms: float | None) -> None:
    """Serve the bento TAG (name:version, exactly), in the foreground."""
    from bentos.packaging import ensure_built
    from bentos.settings import serving_environment

    name, _, version = tag.partition(":")
    if not name or not version or version == "latest":
        raise ValueError(f"{tag!r} is not an exact tag; give name:version as `understudy bento build` prints it")
    ensure_built(tag)
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", host, "--port", str(port)]
    os.execve(command[0], command, serving_environment(url, feature_deadline_ms))


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, silence elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
