"""The room's commands: `router` and `shipper`. Thin: parse, settings, call.

Logging is configured from here (`shadow.router.logs`) and from nowhere else in the room.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from shadow.router.admin_cli import config
from shadow.router.logs import log_to_stderr
from shadow.router.shipper_settings import ENCRYPTIONS, NONE, POLICIES, ShipperSettings

Command = TypeVar("Command", bound=Callable[..., None])

path_option = functools.partial(click.Path, path_type=Path)


@click.group(invoke_without_command=True)
@click.option("--config", "file", type=path_option(exists=True, dir_okay=False), help="JSON file.")
@click.option("--config-server", "url", metavar="URL", help="Instead of --config: a server that gives it.")
@click.option("--name", help="Of this router, for that server.")
@click.option("--admin", metavar="HOST:PORT", help="The admin port, which answers before there is a configuration.")
@click.option(
    "--state", type=path_option(exists=True, file_okay=False), help="Keeps an abort, and the server's last good one."
)
@click.option("--seed", type=path_option(dir_okay=False), help="What to start with, copying nothing, without both.")
@click.pass_context
def router(
    ctx: click.Context,
    file: Path | None,
    url: str | None,
    name: str | None,
    admin: str | None,
    state: Path | None,
    seed: Path | None,
) -> None:
    """Answer users from the primary and copy their requests to the arms, until SIGTERM.

    SIGHUP reads the file again. The commands below talk to the admin port of a router that runs.
    """
    if ctx.invoked_subcommand is not None:
        return
    if file is not None and url is None and seed is None:
        _run_router(file, state)
    elif file is None and url is not None and name and admin and state:
        _run_remote(url, name, admin, state, seed)
    else:
        raise click.UsageError(
            "Give either --config FILE (and --state), or --config-server URL with --name, --admin and --state "
            "(and --seed)."
        )


router.add_command(config)


def _run_router(file: Path, state: Path | None) -> None:
    import uvloop

    from shadow.router.config import ConfigError, read_config
    from shadow.router.server import serve
    from shadow.router.settings import RouterSettings

    log_to_stderr()
    try:
        config, settings = read_config(file), RouterSettings.load()
    except (ConfigError, ValueError) as error:
        _fail(str(error))
    try:
        uvloop.run(serve(config, settings, file, state))
    except OSError as error:
        _fail(f"{error.strerror or error}. Stop what uses it, or choose another address in {file}.")


def _run_remote(url: str, name: str, admin: str, state: Path, seed: Path | None) -> None:
    import uvloop

    from shadow.router.remote import serve_remote
    from shadow.router.settings import RouterSettings

    log_to_stderr()
    try:
        uvloop.run(serve_remote(url, name, admin, state, RouterSettings.load(), seed))
    except (OSError, ValueError) as error:
        _fail(str(error))


def _setting(name: str, kind: Any, text: str, **more: Any) -> Callable[[Command], Command]:
    """An option of the shipper, which the environment may give too (UNDERSTUDY_SHIPPER_…)."""
    variable = f"UNDERSTUDY_SHIPPER_{name[2:].replace('-', '_').upper()}"
    shown = {"show_default": True} if "default" in more and more["default"] not in ("", 0.0) else {}
    return click.option(name, type=kind, envvar=variable, show_envvar=True, help=text, **(shown | more))


@click.command()
@_setting("--socket", path_option(), "Unix socket that the router writes to.", required=True)
@_setting("--spool", path_option(file_okay=False), "Where segments grow and wait for their upload.", required=True)
@_setting("--destination", str, "Where closed segments go: file:///…, s3://…, gs://… or az://….", required=True)
@_setting("--segment-bytes", int, "Compressed bytes at which a segment is closed.", default=64 << 20)
@_setting("--segment-seconds", float, "Seconds after which a segment is closed.", default=300.0)
@_setting("--spool-bytes", int, "Most bytes of segments in the spool.", default=2 << 30)
@_setting("--when-full", click.Choice(POLICIES), "What gives way when the spool is full.", default=POLICIES[0])
@_setting("--put-seconds", float, "Deadline of one upload.", default=60.0)
@_setting("--retry-seconds", float, "Longest pause between attempts to upload.", default=30.0)
@_setting("--drain-seconds", float, "How long the last uploads may take after SIGTERM.", default=10.0)
@_setting("--metrics", str, "HOST:PORT of the Prometheus metrics  [none]", default="")
@_setting("--endpoint", str, "Of s3://…: URL of a store that is not Amazon's.", default="")
@_setting("--encryption", click.Choice(ENCRYPTIONS), "Server-side encryption asked of s3://.", default=NONE)
@_setting("--kms-key", str, "Id or ARN of the KMS key  [the account's]", default="")
@_setting("--retain-days", float, "Of file:///…: days after which an ended log is deleted  [never]", default=0.0)
@click.option(
    "--keep", "kept", is_flag=True, help="As a child that is started again when it ends by itself: for a pod."
)
def shipper(kept: bool, **settings: Any) -> None:
    """Write the router's pairs into segments and upload them, until SIGTERM (docs/shipper.md)."""
    log_to_stderr()
    if kept:
        from shadow.router.keeping import keep

        told = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        sys.exit(keep([sys.executable, "-m", "shadow", "shipper", *told]))
    from shadow.router.shipper_process import run_shipper

    try:
        code = run_shipper(ShipperSettings(**settings))
    except (ValueError, OSError) as error:
        _fail(str(error))
    sys.exit(code)


def _fail(text: str) -> NoReturn:
    click.secho(f"error: {text}", fg="red", err=True)
    sys.exit(2)
