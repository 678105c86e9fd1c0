"""The definition follows from the types, and the committed file from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from shadow.controller import generated
from shadow.controller.crd import COLUMNS, crd, descriptions, schema
from shadow.controller.overlay import PodTemplate
from shadow.controller.parts import Mirror


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field with its place."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.{name}", inner
        yield from fields(inner, f"{path}.{name}")
        yield from fields(inner.get("items", {}), f"{path}.{name}[*]")


def test_the_committed_files_are_current() -> None:
    assert generated.differences() == []


def test_every_file_that_names_the_command_as_its_maker_is_made_by_it() -> None:
    mark = f"# Made by `{generated.UPDATE}`"
    files = [path for room in ("helm", "k8s") for path in (generated.ROOT / room).rglob("*.yaml")]
    said = {str(path.relative_to(generated.ROOT)) for path in files if path.read_text().startswith(mark)}
    assert said == {name for name, content in generated.wanted().items() if content.startswith(mark)}


def test_a_file_that_is_not_current_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "wanted", lambda: {generated.CRD_FILE: "other\n"})
    (told,) = generated.differences()
    assert told.startswith(generated.CRD_FILE)
    assert told.endswith(generated.UPDATE)


def test_the_makefile_has_the_command() -> None:
    makefile = (generated.ROOT / "Makefile").read_text()
    assert re.search(r"^update-generated verify-generated:", makefile, re.MULTILINE)


def test_every_field_is_described_in_one_line() -> None:
    for path, inner in fields(schema()):
        if path != ".metadata":
            assert inner.get("description", ""), path
            assert "\n" not in inner["description"], path


def test_every_list_and_every_text_that_a_user_writes_is_bounded() -> None:
    free = {".spec.podTemplate", ".spec.mirror.podTemplate", ".spec.network", ".spec.shadows"}
    for path, inner in fields(schema()["properties"]["spec"], ".spec"):
        if inner["type"] == "array":
            assert "maxItems" in inner, path
        if inner["type"] == "string" and not path.startswith(tuple(free)):
            assert inner.keys() & {"maxLength", "enum"}, path


def test_the_path_of_every_column_is_in_the_types() -> None:
    known = {path for path, _ in fields(schema())} | {".metadata.creationTimestamp"}
    for _, _, path, _, _ in COLUMNS:
        assert re.sub(r"\[\?\(.*\)\]", "[*]", path) in known


def test_there_are_no_references_and_nothing_that_helm_would_replace() -> None:
    text = generated.as_yaml([crd()])
    assert "$ref" not in text
    assert "{{" not in text


def test_a_description_is_the_docstring_under_the_field() -> None:
    assert descriptions(Mirror)["routes"] == "What is copied."
    assert descriptions(PodTemplate)["metadata"] == "Labels and annotations of the pods."
