"""The table of all fields in docs/shadowdeployment.md, from the schema. Next module: `shadow.controller.generated`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from shadow.controller.crd import PRESERVED, schema

BEGIN: Final = "<!-- The table is made by `make update-generated`. -->"
END: Final = "<!-- End of the table. -->"
HEAD: Final = "| field | type | default | meaning |\n|---|---|---|---|"
ONCE: Final = "podTemplate"
"""Told at its first place."""


def with_reference(page: str) -> str:
    """`page` with the table between its marks; `ValueError` when there are none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def table() -> str:
    """All fields of spec and status."""
    root = schema()["properties"]
    return "\n".join([HEAD, *_rows("spec", root["spec"]), *_rows("status", root["status"])])


def _rows(path: str, part: dict[str, Any]) -> Iterator[str]:
    required = part.get("required", [])
    for name, inner in part.get("properties", {}).items():
        place = f"{path}.{name}"
        default = "**required**" if name in required else _default(inner.get("default"))
        meaning = inner["description"].split(" Default: ")[0].replace("|", "\\|").replace("<", "&lt;")
        yield f"| `{place}` | {_type(inner)} | {default} | {meaning} |"
        if not path.endswith("mirror") or name != ONCE:
            yield from _rows(place, inner)
            yield from _rows(f"{place}[]", inner.get("items", {}))


def _type(part: dict[str, Any]) -> str:
    """Type and bounds in a few words."""
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "x-kubernetes-int-or-string" in part:
        return "quantity"
    kind = str(part["type"])
    if kind == "integer":
        low, high = part.get("minimum"), part.get("maximum")
        return kind if low is None else f"integer ≥ {low}" if high is None else f"{low}–{high}"
    if kind == "array":
        return f"list of {part['items'].get('type', 'object')}s" + (
            f", ≤ {most}" if (most := part.get("maxItems")) else ""
        )
    if kind == "object" and "additionalProperties" in part:
        return "map"
    return "any object" if part.get(PRESERVED) and "properties" not in part else kind


def _default(value: Any) -> str:
    """A single value; of an object its fields tell it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return "`GET /recommend`" if value == [{"method": "GET", "path": "/recommend"}] else f"`{value}`"
    return "" if value is None or isinstance(value, dict) else f"`{value}`"
