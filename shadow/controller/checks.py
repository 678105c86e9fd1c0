"""A resource, checked as the API server would: types, bounds and rules. Next module: `shadow.controller.crd`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec.structs import fields

from shadow.controller.resource import ResourceError, ShadowDeployment, convert
from shadow.controller.rules import RULES
from shadow.controller.wire import Part

MOST_BYTES: Final = 1 << 20
"""More is no resource: etcd would not take it."""


def read_resource(path: Path) -> ShadowDeployment:
    """The one resource in a YAML or JSON file, checked; `ResourceError` names the file, the field and the remedy."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResourceError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return parse(data)
    except ResourceError as error:
        raise ResourceError(f"{path}: {error}") from error


def parse(data: bytes) -> ShadowDeployment:
    """The one resource in YAML or JSON, checked; `ResourceError` names the field and the remedy."""
    if len(data) > MOST_BYTES:
        raise ResourceError(f"is longer than {MOST_BYTES} bytes: give one ShadowDeployment")
    try:
        documents = [each for each in yaml.safe_load_all(data) if each is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ResourceError(f"is no YAML: {error}") from error
    if len(documents) != 1:
        raise ResourceError(f"holds {len(documents)} documents: give one ShadowDeployment")
    resource = convert(documents[0])
    check(resource)
    return resource


def check(resource: ShadowDeployment) -> None:
    """`ResourceError` for the first rule that `resource` breaks."""
    for path, part in _parts("", resource):
        for rule in RULES:
            if isinstance(part, rule.part) and rule.broken is not None and rule.broken(part):
                raise ResourceError(f"{path}: {rule.message}" if path else rule.message)


def _parts(path: str, value: Any) -> Iterator[tuple[str, msgspec.Struct]]:
    """Every struct in `value` with its place, itself first. `ResourceError` for a text that ends in a line feed, which
    a pattern of Python's would let pass and one of the API server's would not."""
    if isinstance(value, msgspec.Struct):
        yield path, value
        for field in fields(value):
            inner, place = getattr(value, field.name), f"{path}.{field.encode_name}".lstrip(".")
            if isinstance(value, Part) and isinstance(inner, str) and inner.endswith("\n"):
                raise ResourceError(f"{place}: ends in a line feed; write it on one line, without `|`")
            yield from _parts(place, inner)
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _parts(f"{path}[{number}]", item)
