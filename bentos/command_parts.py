"""What the room's commands share: options, progress, the room's errors in one line.

A command is thin: parse, settings, call, print. Heavy libraries are imported inside the commands, so that `--help`
stays fast. Next module: `bentos.bento_cli`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bentos.errors import BentosError

path_option = functools.partial(click.Path, path_type=Path)
bundle_argument = click.argument("bundle", type=path_option(exists=True, file_okay=False))
redis_option = click.option(
    "--redis",
    "url",
    default="redis://127.0.0.1:6379/0",
    show_default=True,
    envvar="UNDERSTUDY_REDIS_URL",
    help="URL of the feature store; with a password better in UNDERSTUDY_REDIS_URL, which no process list shows.",
)


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


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, silence elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
