"""`understudy bento`: bundles become bentos, bentos become images. Next module: `bentos.features_cli`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from bentos.command_parts import bundle_argument, told


@click.group()
def bento() -> None:
    """Build bentos from bundles, and images from bentos."""


@bento.command("build")
@bundle_argument
@click.option("--name", help="Must be the bundle's name; refused otherwise.")
@click.option("--rebuild", is_flag=True, help="Build again though the same content is there.")
@told
def bento_build(bundle: Path, name: str | None, rebuild: bool) -> None:
    """Store BUNDLE as a model and build its bento; the last line printed is the tag."""
    from bentos.packaging import build_bento, stored_content

    tag, built = build_bento(bundle, name, rebuild)
    click.echo(f"{'built' if built else 'there already'}, content {stored_content(tag)}", err=True)
    click.echo(tag)


@bento.command("containerize")
@click.argument("tag")
@click.option("--image", help="Name of the image [the bento's tag].")
@click.option("--json", "as_json", is_flag=True, help="Name and size as JSON.")
@told
def bento_containerize(tag: str, image: str | None, as_json: bool) -> None:
    """Make the container image of the bento TAG with docker."""
    from bentos.containers import containerize

    name, size = containerize(tag, image)
    if as_json:
        sys.stdout.write(msgspec.json.encode({"image": name, "bytes": size}).decode() + "\n")
    else:
        click.echo(f"{name}: {size / 1e6:,.0f} MB")
