"""`understudy features`: what Redis knows of users, model version by model version. Next module: `bentos.redis_cli`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bentos.command_parts import bundle_argument, path_option, progress_bar, redis_option, told

if TYPE_CHECKING:
    from bentos.feature_loading import Loaded
    from bentos.feature_versions import Listed

version_argument = click.argument("version")
by_option = click.option("--by", required=True, metavar="NAME", help="Who needs the version (a deployment's name).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def features() -> None:
    """Load, verify, pin and drop the features of model versions in Redis (docs/features.md)."""


@features.command("load")
@bundle_argument
@click.option("--facts", type=path_option(exists=True, dir_okay=False), help="What users did (understudy data facts).")
@redis_option
@click.option(
    "--ttl-days",
    type=click.FloatRange(min=0, min_open=True),
    default=14.0,
    show_default=True,
    envvar="UNDERSTUDY_FEATURES_TTL_DAYS",
    help="How long vectors are kept that no one pins.",
)
@click.option("--again", is_flag=True, help="Load what is there already, too.")
@told
def features_load(bundle: Path, facts: Path | None, url: str, ttl_days: float, again: bool) -> None:
    """Load the vectors of BUNDLE, and the facts if given; goes on where an interrupted load stopped."""
    from bentos.bundle import load_bundle
    from bentos.feature_facts import load_facts
    from bentos.feature_loading import connected, load_vectors

    loaded = load_bundle(bundle)
    tag = loaded.manifest.tag
    with connected(url) as client:
        if facts:
            with progress_bar("facts") as progress:
                started = time.perf_counter()
                result = load_facts(client, facts, progress, again=again)
            click.echo(f"{facts.name}: facts of {_told(result, started)}")
        with progress_bar("vectors") as progress:
            started = time.perf_counter()
            result = load_vectors(client, loaded, progress, ttl_seconds=round(ttl_days * 86_400), again=again)
        click.echo(f"{tag}: vectors of {_told(result, started)}")


@features.command("verify")
@bundle_argument
@redis_option
@told
def features_verify(bundle: Path, url: str) -> None:
    """Compare every vector in Redis with BUNDLE; exit 1 when one is missing or differs."""
    from bentos.bundle import load_bundle
    from bentos.feature_loading import connected, verify_vectors

    loaded = load_bundle(bundle)
    with connected(url) as client, progress_bar("vectors") as progress:
        wrong = verify_vectors(client, loaded, progress)
    if wrong:
        click.echo(
            f"{len(wrong):,} of {len(loaded.user_ids):,} vectors missing or different, first: user {wrong[0]}. "
            "Load them again: understudy features load BUNDLE --again"
        )
        sys.exit(1)
    click.echo(f"{loaded.manifest.tag}: all {len(loaded.user_ids):,} vectors are there")


@features.command("list")
@redis_option
@json_option
@told
def features_list(url: str, as_json: bool) -> None:
    """What is loaded of which version, who pins it, and when it expires."""
    import msgspec

    from bentos.feature_loading import connected
    from bentos.feature_versions import listed

    with connected(url) as client:
        lines = listed(client)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(lines), indent=2).decode())
    else:
        _print_table([("version", "name", "users", "MB", "age", "expires", "pinned by"), *map(_row, lines)])


@features.command("pin")
@version_argument
@by_option
@redis_option
@told
def features_pin(version: str, by: str, url: str) -> None:
    """Keep VERSION until it is unpinned; also before it is loaded."""
    from bentos.feature_loading import connected
    from bentos.feature_versions import pin

    with connected(url) as client:
        loaded = pin(client, version, by)
    click.echo(f"{version} is pinned by {by}" + ("" if loaded else "; it is not loaded yet"))


@features.command("unpin")
@version_argument
@by_option
@redis_option
@told
def features_unpin(version: str, by: str, url: str) -> None:
    """NAME needs VERSION no more; without another pin it expires."""
    from bentos.feature_loading import connected
    from bentos.feature_versions import unpin

    with connected(url) as client:
        others = unpin(client, version, by)
    click.echo(f"{version} is still pinned by {', '.join(others)}" if others else f"{version} will expire")


@features.command("drop")
@version_argument
@redis_option
@click.option("--force", is_flag=True, help="Also when it is pinned.")
@told
def features_drop(version: str, url: str, force: bool) -> None:
    """Remove the vectors of the model VERSION (12 hex digits); facts stay."""
    from bentos.feature_loading import connected
    from bentos.feature_versions import drop

    with connected(url) as client, progress_bar("vectors") as progress:
        dropped = drop(client, version, force=force, progress=progress)
    click.echo(f"{dropped:,} vectors dropped")


@features.command("erase")
@click.argument("user")
@redis_option
@told
def features_erase(user: str, url: str) -> None:
    """Remove facts, events and the vectors of all versions of USER. Bundles and facts files still hold the user."""
    from bentos.feature_loading import connected
    from bentos.feature_versions import erase

    with connected(url) as client:
        click.echo(f"{erase(client, user):,} keys and vectors removed")


def _told(result: Loaded, started: float) -> str:
    users = f"{result.users:,} users"
    if result.already:
        return f"{users} are there already (--again loads them again)"
    rate = (result.users - result.resumed_at) / (time.perf_counter() - started)
    resumed = f", resumed at {result.resumed_at:,}" if result.resumed_at else ""
    merged = f", {result.merged:,} values joined with what was there" if result.merged else ""
    return f"{users} ({rate:,.0f} users/s{resumed}{merged})"


def _row(line: Listed) -> tuple[str, ...]:
    if line.loaded:
        name, age = line.loaded.name, _duration(line.age_seconds)
    else:
        name, age = (f"(loading, {line.loading:,})" if line.loading is not None else "(not loaded)"), "-"
    expires = "never" if line.pins else _duration(line.expires_seconds)
    return (line.version, name, f"{line.users:,}", f"{line.megabytes:,.1f}", age, expires, ", ".join(line.pins) or "-")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _print_table(rows: list[tuple[Any, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())
