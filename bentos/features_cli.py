"""`understudy features` and `understudy redis`: the feature store. Next module: `bentos.serve_cli`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from bentos.command_parts import bundle_argument, path_option, progress_bar, redis_option, told


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
    with connected(url) as client, progress_bar("features") as progress:
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
