"""Names, labels, selectors, owners, and the hash of a child."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shadow.controller.kinds import CONFIG_MAP
from shadow.controller.names import HASH_ANNOTATION, hashed, labels, manifest, selector
from tests.shadow.controller.resources import resource


def child(component: str, **changes: Any) -> dict[str, Any]:
    sd = resource(**{name: value for name, value in changes.items() if name == "deletionPolicy"})
    metadata = msgspec.structs.replace(sd.metadata, uid=changes.get("uid", ""))
    sd = msgspec.structs.replace(sd, metadata=metadata)
    return manifest(sd, CONFIG_MAP, "recommender-x", component, "x", {"data": {}})


def test_a_selector_is_part_of_the_labels_and_names_no_version() -> None:
    found = labels(resource(), "shadow", "content")
    assert selector(resource(), "content").items() <= found.items()
    assert not any("5708e43f2a27" in value or "336f13f24e56" in value for value in found.values())


def test_the_namespace_is_the_resources() -> None:
    assert child("primary")["metadata"]["namespace"] == "shop"


@pytest.mark.parametrize(
    ("component", "policy", "owned"),
    [
        ("primary", "Orphan", False),
        ("primary", "Delete", True),
        ("shadow", "Orphan", True),
        ("control", "Orphan", True),
    ],
)
def test_production_is_owned_only_where_all_shall_go(component: str, policy: str, owned: bool) -> None:
    made = child(component, deletionPolicy=policy, uid="u1")["metadata"]
    assert ("ownerReferences" in made) == owned
    assert "ownerReferences" not in child(component, deletionPolicy=policy)["metadata"]


def test_the_hash_is_of_everything_but_itself() -> None:
    one = hashed(child("primary"))
    assert hashed(child("primary")) == one
    other = hashed(child("primary") | {"data": {"a": "b"}})
    digests = {each["metadata"]["annotations"][HASH_ANNOTATION] for each in (one, other)}
    assert len(digests) == 2
    assert all(len(digest) == 16 for digest in digests)
