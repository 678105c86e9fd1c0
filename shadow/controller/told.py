"""What msgspec says of a document that is no resource, in words that name the field and the remedy.

Next module: `shadow.controller.rules`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import inspect

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


def told(error: str, kind: type[msgspec.Struct]) -> str:
    """msgspec's message about a `kind`, the field first: `spec.mirror.percent: Expected `int` <= 100`.

    An unknown field is told with the known one that is most like it, or with all there are.
    """
    text, _, path = error.rpartition(" - at `$")
    text, place = (text, path.rstrip("`")) if text else (error, "")
    if (unknown := _UNKNOWN.fullmatch(text)) is not None:
        text += _remedy(unknown["name"], _fields(inspect.type_info(kind), place))
    return f"{place.lstrip('.')}: {text}" if place.lstrip(".") else text


def _remedy(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [each.lower() for each in names], n=1)
    found = [each for each in names if [each.lower()] == near]
    return f": did you mean `{found[0]}`?" if found else f": there are {', '.join(names)}"


def _fields(kind: Any, place: str) -> list[str]:
    """The names of the fields at `place` of a `kind`, as they are written: `.spec.shadows[0]`, say."""
    for step in re.findall(r"\.[^.\[]+|\[[^\]]*\]", place):
        kind = _struct(kind)
        if step.startswith("."):
            kind = next(field.type for field in kind.fields if field.encode_name == step[1:])
        else:
            kind = getattr(kind, "item_type", None) or kind.value_type
    return [field.encode_name for field in _struct(kind).fields]


def _struct(kind: Any) -> Any:
    """Without what says that it may be missing, and without bounds."""
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        else:
            kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    return kind
