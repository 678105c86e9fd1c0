"""Bento and bundle must be of one model: what the builder wrote, what bento.yaml pins, what the bundle says.

Next module: `bentos.service`, which refuses to start otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import yaml

from bentos.errors import PackagingError

SOURCE: Final = Path(__file__).parent.parent
"""The `src` directory of the bento (the checkout when this is not running in one)."""


NOTE: Final = "packaged.json"


class Packaged(msgspec.Struct, frozen=True):
    """What the builder wrote into the bento: the tag of its model, which is the bento's own too, and the hash of all
    that went in (`bentos.packaging`).
    """

    tag: str
    content: str = ""


def packaged(source: Path = SOURCE) -> Packaged:
    """The build's note in `source`; `PackagingError` when this code does not run inside a bento."""
    try:
        return msgspec.json.decode((source / NOTE).read_bytes(), type=Packaged)
    except (OSError, msgspec.DecodeError) as error:
        raise PackagingError(
            f"{source}: no bento (packaged.json: {error}). Build one: understudy bento build"
        ) from error


def check_agreement(tag: str, bento_yaml: Path, bundle_tag: str) -> None:
    """`PackagingError` unless the model `tag` is the only one pinned in `bento_yaml`, its bento's, and the bundle's."""
    document = yaml.safe_load(bento_yaml.read_text())
    pinned = [str(model["tag"]) for model in document.get("models", [])]
    bento = f"{document.get('name')}:{document.get('version')}"
    if pinned != [tag] or bento != tag or bundle_tag != tag:
        raise PackagingError(
            f"bento and bundle disagree: built for {tag}, bento.yaml is {bento} with models {pinned}, the bundle says "
            f"{bundle_tag}. Build the bento again: understudy bento build"
        )
