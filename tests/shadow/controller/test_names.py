"""Names, labels, selectors, owners, and the hash of a child."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.controller.checks import check
from shadow.controller.children import children
from shadow.controller.kinds import CONFIG_MAP
from shadow.controller.names import HASH_ANNOTATION, RESERVED_ARMS, hashed, labels, manifest, selector
from shadow.controller.objects import ref_of
from shadow.controller.reconcile import serving_of
from shadow.controller.resource import ResourceError
from tests.shadow.controller.resources import CHALLENGER, CHAMPION, PLATFORM, resource


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


letters = st.text("ab-", min_size=1, max_size=6)
words = st.lists(st.sampled_from([*RESERVED_ARMS, "a", "b", "", "-"]), min_size=1, max_size=4).map("-".join)
names = (letters | words).filter(lambda name: re.fullmatch("[a-z]([-a-z0-9]{0,18}[a-z0-9])?", name) is not None)
MORE = {"autoscaling": {"maxReplicas": 3}, "mirror": {"replicas": 2}, "model": msgspec.to_builtins(CHALLENGER)}


def made(name: str, arms: tuple[str, ...]) -> set[tuple[str, str]]:
    """Kind and name of all that can be made of a resource with these further shadows; none where it is refused."""
    further = [{"name": arm, "model": msgspec.to_builtins(CHALLENGER)} for arm in arms]
    sd = resource(name, **MORE, shadows=further)
    try:
        check(sd)
    except ResourceError:
        return set()
    seen = msgspec.structs.replace(sd, status=msgspec.structs.replace(sd.status, primary=CHAMPION))
    found = children(seen, serving_of(seen, ()), PLATFORM)
    assert len({ref_of(child).key for child in found}) == len(found)
    return {ref_of(child).key for child in found}


@settings(max_examples=300)
@given(names, names, st.tuples(names), st.tuples(names))
def test_two_resources_never_have_an_object_in_common(
    one: str, other: str, arms: tuple[str, ...], others: tuple[str, ...]
) -> None:
    if one != other:
        assert not made(one, arms) & made(other, others)


@pytest.mark.parametrize(
    ("one", "arm", "other", "its", "taken"),
    [
        ("a", "b-c", "a-b", "c", True),
        ("a", "b", "a-b", "c", True),
        ("a", "shadow", "a-shadow", "c", False),
        ("a", "b-shadow", "a-b", "c", True),
    ],
)
def test_where_a_hyphen_joins_names_they_stay_apart(one: str, arm: str, other: str, its: str, taken: bool) -> None:
    first, second = made(one, (arm,)), made(other, (its,))
    assert (bool(first), bool(second)) == (taken, taken)
    assert not first & second


@given(names, names, letters)
def test_no_object_is_one_of_the_charts(name: str, arm: str, release: str) -> None:
    chart = {f"{each}-operator" for each in (release, name, f"{name}-{arm}", f"{name}--{arm}")}
    assert not {found for _, found in made(name, (arm,))} & chart
