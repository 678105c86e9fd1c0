"""What the resource's types are made of: the base of all of them, and the strings that Kubernetes has for quantities.

A field's docstring is its description in the API (`kubectl explain`). Next module: `shadow.controller.overlay`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

Manifest = dict[str, Any]
"""One Kubernetes object: JSON types only, without the fields that the server sets."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A part of the resource: camelCase in JSON, unknown fields are refused by name."""


ObjectName = Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
"""The name of a Secret or a ConfigMap."""
Size = Annotated[str, Meta(pattern="^[1-9][0-9]*(Ki|Mi|Gi)$", max_length=12)]
"""Bytes as a Kubernetes quantity with a binary unit, 64Mi say."""
Duration = Annotated[str, Meta(pattern="^([0-9]+h)?([0-9]+m)?([0-9]+s)?$", min_length=2, max_length=20)]
"""Hours, minutes, seconds: 24h, 1h30m, 90s."""
Port = Annotated[int, Meta(ge=1, le=65_535)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Quantity = int | str
"""Any quantity of Kubernetes: 2, 500m, 1Gi."""


def plain(part: Part) -> dict[str, Any]:
    """The part as it stands in a manifest: JSON types only, so lists and no tuples."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(part))
    return made


Free = dict[str, Any]
"""An object of Kubernetes' own API, checked there."""
_NAME: Final = {"type": "string", "maxLength": 253, "description": "Its name."}
_PATH: Final = {"type": "string", "maxLength": 4_096, "description": "Where it is mounted."}
Named = Annotated[Free, Meta(extra_json_schema={"properties": {"name": _NAME}, "required": ["name"]})]
"""The same, with a name that is read here."""
Mounted = Annotated[
    Free,
    Meta(extra_json_schema={"properties": {"name": _NAME, "mountPath": _PATH}, "required": ["name", "mountPath"]}),
]
"""A volumeMount."""

UNITS: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def size_of(text: Size) -> int:
    """The bytes of a `Size`."""
    return int(text[:-2]) * UNITS[text[-2:]]


def seconds_of(text: Duration) -> int:
    """The seconds of a `Duration`."""
    parts = re.findall(r"([0-9]+)([hms])", text)
    return sum(int(number) * {"h": 3_600, "m": 60, "s": 1}[unit] for number, unit in parts)


def size(count: int) -> Size:
    """A quantity of whole MiB that is at least `count` bytes."""
    return f"{max(1, -(-count >> 20))}Mi"
