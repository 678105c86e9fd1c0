"""The newest state of each object, whatever order lists and watches come in."""

from __future__ import annotations

from typing import Any

from shadow.controller.known import Known


def child(version: int, name: str = "reco-primary", instance: str = "reco", kind: str = "Deployment") -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "understudy-operator", "app.kubernetes.io/instance": instance}
    return {"kind": kind, "metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


def resource(version: int, name: str = "reco") -> dict[str, Any]:
    return {"kind": "ShadowDeployment", "metadata": {"name": name, "resourceVersion": str(version)}}


def test_an_older_state_does_not_take_the_place_of_a_newer_one() -> None:
    known = Known()
    assert known.saw(child(9)) == "reco"
    known.saw(child(7))
    assert known.children("reco") == (child(9),)


def test_versions_are_numbers() -> None:
    known = Known()
    known.saw(child(99))
    known.saw(child(100))
    assert known.children("reco") == (child(100),)


def test_an_old_end_does_not_take_away_what_was_made_anew() -> None:
    known = Known()
    known.saw(child(9))
    known.saw(child(8), gone=True)
    assert known.child(("Deployment", "reco-primary")) == child(9)
    known.saw(child(10), gone=True)
    assert known.child(("Deployment", "reco-primary")) is None


def test_a_list_forgets_what_is_gone_and_keeps_what_was_seen_later() -> None:
    known = Known()
    for each in (child(9), child(3, "reco-shadow"), resource(5), resource(6, "old")):
        known.saw(each)
    known.replace([resource(4)], [child(8)])
    assert known.children("reco") == (child(9),)
    assert known.resources == {"reco": resource(5)}


def test_a_child_whose_labels_were_taken_away_is_nobodys_and_its_resource_is_told() -> None:
    known = Known()
    known.saw(child(9))
    bare = child(10)
    bare["metadata"]["labels"] = {}
    assert known.saw(bare) == "reco"
    assert known.children("reco") == ()
    assert known.saw(bare) == ""


def test_what_was_never_ours_is_passed_over() -> None:
    known = Known()
    theirs = child(1, kind="ConfigMap")
    theirs["metadata"]["labels"] = None
    assert known.saw(theirs) == ""
