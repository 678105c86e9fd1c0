"""The room's commands: `router` and `shipper`. Thin: parse, settings, call.

Logging is configured here and nowhere else in the room.
"""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path
from typing import NoReturn

import click

path_option = functools.partial(click.Path, path_type=Path)


@click.command()
@click.option("--config", "file", type=path_option(exists=True, dir_okay=False), required=True, help="JSON file.")
def router(file: Path) -> None:
    """Answer users from the primary and copy their requests to the arms, until SIGTERM."""
    import uvloop

    from shadow.router.config import ConfigError, read_config
    from shadow.router.server import serve
    from shadow.router.settings import RouterSettings

    _log_to_stderr()
    try:
        config, settings = read_config(file), RouterSettings.load()
    except (ConfigError, ValueError) as error:
        _fail(str(error))
    try:
        uvloop.run(serve(config, settings.unit_key))
    except OSError as error:
        _fail(f"{error.strerror or error}. Stop what uses it, or choose another address in {file}.")


@click.command()
@click.option("--socket", type=path_option(), required=True, help="Unix socket that the router writes to.")
@click.option("--spool", type=path_option(file_okay=False), required=True, help="Where segments grow before they ship.")
@click.option("--destination", required=True, help="Where closed segments go: file:///…")
@click.option("--segment-bytes", type=click.IntRange(min=1), default=64 << 20, show_default=True)
@click.option("--segment-seconds", type=click.FloatRange(min=0, min_open=True), default=300.0, show_default=True)
def shipper(socket: Path, spool: Path, destination: str, segment_bytes: int, segment_seconds: float) -> None:
    """Write the router's pairs into segments and ship them, until SIGTERM."""
    from shadow.router.shipper import run_shipper

    _log_to_stderr()
    try:
        code = run_shipper(socket, spool, destination, segment_bytes, segment_seconds)
    except (ValueError, OSError) as error:
        _fail(str(error))
    sys.exit(code)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def _fail(text: str) -> NoReturn:
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(2)
