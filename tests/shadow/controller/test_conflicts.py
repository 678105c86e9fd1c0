"""Which fields another manager keeps, and a manifest without them."""

from __future__ import annotations

from typing import Any

import pytest

from shadow.controller.conflicts import Kept, told, without

BENTO = '.spec.template.spec.containers[name="bento"]'
MANIFEST: dict[str, Any] = {
    "metadata": {"annotations": {"understudy.dev/spec-hash": "1", "understudy": "2"}, "finalizers": ["a", "b/c"]},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {"name": "bento", "image": "one", "ports": [{"containerPort": 3000}]},
                    {"name": 'o"d]d', "image": "two"},
                ]
            }
        },
    },
}


@pytest.mark.parametrize(
    ("field", "holder", "lacks"),
    [
        (".spec.replicas", "spec", "replicas"),
        (".metadata.annotations.understudy.dev/spec-hash", "annotations", "understudy.dev/spec-hash"),
        (".metadata.annotations.understudy", "annotations", "understudy"),
        (f"{BENTO}.image", "bento", "image"),
        (f'{BENTO}.ports[containerPort=3000,protocol="TCP"].containerPort', "port", "containerPort"),
        ('.spec.template.spec.containers[name="o\\"d]d"].image', "odd", "image"),
    ],
)
def test_a_field_that_somebody_keeps_is_left_out_and_nothing_else(field: str, holder: str, lacks: str) -> None:
    found = without(MANIFEST, (field,))
    containers = found["spec"]["template"]["spec"]["containers"]
    places = {
        "spec": found["spec"],
        "annotations": found["metadata"]["annotations"],
        "bento": containers[0],
        "odd": containers[1],
        "port": containers[0]["ports"][0],
    }
    assert lacks not in places[holder]
    for name, place in places.items():
        if name != holder:
            assert place, name


def test_an_element_of_a_set_is_left_out() -> None:
    assert without(MANIFEST, ('.metadata.finalizers[="b/c"]',))["metadata"]["finalizers"] == ["a"]


def test_the_manifest_itself_stays_as_it_is() -> None:
    without(MANIFEST, (".spec.replicas",))
    assert MANIFEST["spec"]["replicas"] == 2


def test_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\.spec\.paused is not in the manifest"):
        without(MANIFEST, (".spec.paused",))


def test_the_managers_are_read_from_the_servers_answer() -> None:
    cause = {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kube-controller-manager" with subresource "scale" using apps/v1',
        "field": ".spec.replicas",
    }
    other = {"reason": "FieldValueInvalid", "message": "no", "field": "spec"}
    kept = told("Deployment", "reco", {"details": {"causes": [cause, other]}})
    assert kept == (Kept("Deployment", "reco", ".spec.replicas", "kube-controller-manager"),)
    assert kept[0].expected
    assert not kept[0].whole


@pytest.mark.parametrize("body", [None, "no", {}, {"details": None}, {"details": {"causes": None}}])
def test_an_answer_without_causes_names_no_field(body: Any) -> None:
    assert told("Deployment", "reco", body) == ()
