"""The full example: every field, its comment, and values that are valid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from shadow.controller.annotated import annotated
from shadow.controller.checks import check
from shadow.controller.crd import PRESERVED, schema
from shadow.controller.generated import EXAMPLES, ROOT
from shadow.controller.resource import convert
from tests.shadow.controller.resources import document

FULL = (ROOT / EXAMPLES / "full.yaml").read_text()


def leaves(part: dict[str, Any]) -> Iterator[str]:
    """The names of all fields of an object, at any depth."""
    for name, inner in part.get("properties", {}).items():
        yield name
        if not inner.get(PRESERVED):
            yield from leaves(inner)
            if not inner.get("items", {}).get(PRESERVED):
                yield from leaves(inner.get("items", {}))


def test_every_field_is_there_set_or_as_a_comment() -> None:
    names = set(leaves(schema()["properties"]["spec"]))
    missing = {name for name in names if not re.search(rf"^ +(# |- )?{name}:", FULL, re.MULTILINE)}
    assert not missing


def test_comments_change_no_value() -> None:
    before = yaml.safe_load(FULL)
    assert yaml.safe_load(annotated(before)) == before
    assert annotated(before) == annotated(yaml.safe_load(annotated(before)))


def test_what_is_not_set_stands_there_with_its_default() -> None:
    text = annotated(document())
    assert yaml.safe_load(text) == document()
    assert "  # Pods of the primary; not used with autoscaling.\n  # replicas: 2\n" in text
    check(convert(yaml.safe_load(text)))
