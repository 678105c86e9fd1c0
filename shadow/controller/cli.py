"""The room's command `operator`. Logging is configured here and nowhere else in the room."""

from __future__ import annotations

import logging
import sys

import click


@click.command()
def operator() -> None:
    """Make real what the ShadowDeployments of a namespace say, and keep it so, until SIGTERM.

    Settings come from the environment (docs/operator.md); the chart sets them.
    """
    import asyncio

    from shadow.controller.handlers import serve
    from shadow.controller.settings import OperatorSettings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        asyncio.run(serve(OperatorSettings.load()))
    except (OSError, ValueError) as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
