"""`understudy bento`: bundles become bentos. Next module: `bentos.features_cli`."""

from __future__ import annotations

from pathlib import Path

import click

from bentos.command_parts import bundle_argument, told


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
