"""`understudy serve`: a bento becomes a server. Next module: `bentos.service`, which runs in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from bentos.command_parts import redis_option, told

KEEP_ALIVE_SECONDS: Final = 75
"""How long an idle connection is kept: longer than those who pool them do (60 s is usual), or a request could meet a
connection that is just being closed.
"""


@click.command()
@click.argument("tag")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@redis_option
@click.option(
    "--feature-deadline-ms", type=click.FloatRange(min=0, min_open=True), help="How long to wait for features [5]."
)
@click.option(
    "--ranking",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Weights of the ranking, TOML (UNDERSTUDY_RANKING_… wins over it) [relevance alone].",
)
@click.option("--logical-clock", is_flag=True, help="X-Understudy-Event-Time counts as now: for a replay only.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that answer, each with its own bundle [1].")
@told
def serve(
    tag: str,
    host: str,
    port: int,
    url: str,
    feature_deadline_ms: float | None,
    ranking: Path | None,
    logical_clock: bool,
    workers: int | None,
) -> None:
    """Serve the bento TAG (name:version, exactly), in the foreground."""
    from bentos.packaging import ensure_built
    from bentos.ranking_settings import ranking_of, read_ranking
    from bentos.settings import serving_environment

    name, _, version = tag.partition(":")
    if not name or not version or version == "latest":
        raise ValueError(f"{tag!r} is not an exact tag; give name:version as `understudy bento build` prints it")
    weights = read_ranking(ranking) if ranking else None
    environment = serving_environment(url, feature_deadline_ms, workers, weights, logical_clock)
    ranking_of(environment)
    ensure_built(tag)
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", host, "--port", str(port)]
    command += ["--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)]
    os.execve(command[0], command, environment)
