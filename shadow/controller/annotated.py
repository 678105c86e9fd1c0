"""A resource as YAML in which every field has its description as a comment: `k8s/examples/full.yaml`.

Its values are the file's own, so a person changes those and `make update-generated` the comments. Next module:
`shadow.controller.reference`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import yaml
from msgspec import inspect as types

from shadow.controller.crd import descriptions
from shadow.controller.overlay import PodTemplate
from shadow.controller.resource import Spec

WIDTH: Final = 110


def annotated(document: dict[str, Any]) -> str:
    """`document`, a whole resource, with comments; what it does not set stands there as a comment, too."""
    head = {name: document[name] for name in ("apiVersion", "kind", "metadata")}
    spec = types.type_info(Spec)
    assert isinstance(spec, types.StructType)
    return yaml.safe_dump(head, sort_keys=False) + "spec:\n" + "\n".join(_fields(spec, document["spec"], "  ")) + "\n"


def _fields(kind: types.StructType, values: dict[str, Any], indent: str) -> Iterator[str]:
    """The lines of one object."""
    described = descriptions(kind.cls)
    for field in kind.fields:
        yield from _comment(described[field.name], indent)
        name = field.encode_name
        if name not in values:
            yield f"{indent}# {name}:{_unset(field)}"
        else:
            yield from _value(name, _struct_of(field.type), values[name], indent)


def _value(name: str, kind: types.StructType | None, value: Any, indent: str) -> Iterator[str]:
    if kind is not None and isinstance(value, dict):
        yield f"{indent}{name}:" + ("" if value else " {}")
        # What all overlays have is told at the first of them.
        yield from _plain(value, indent + "  ") if _told(kind, indent) else _fields(kind, value, indent + "  ")
    elif kind is not None and value:
        yield f"{indent}{name}:"
        for item in value:
            lines = list(_fields(kind, item, indent + "    "))
            yield f"{indent}  -"
            yield from lines
    else:
        yield from _plain({name: value}, indent)


def _told(kind: types.StructType, indent: str) -> bool:
    return kind.cls is PodTemplate and len(indent) > len("  ")


def _plain(value: Any, indent: str) -> Iterator[str]:
    """Values without comments."""
    text = yaml.safe_dump(value, sort_keys=False, width=WIDTH, allow_unicode=True) if value else ""
    yield from textwrap.indent(text.rstrip("\n"), indent).splitlines()


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)


def _unset(field: types.Field) -> str:
    if field.default in (msgspec.NODEFAULT, None, "", ()):
        return ""
    return "" if isinstance(field.default, msgspec.Struct) else f" {field.default}"


def _struct_of(kind: types.Type) -> types.StructType | None:
    """The object in it: itself, what is optional, or the items of a list."""
    if isinstance(kind, types.UnionType):
        kind = kind.types[0]
    if isinstance(kind, types.VarTupleType):
        kind = kind.item_type
    return kind if isinstance(kind, types.StructType) else None
