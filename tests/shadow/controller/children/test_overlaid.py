"""What a user adds to pods, and what stays the operator's."""

from __future__ import annotations

from typing import Any

from shadow.controller.children import children
from tests.shadow.controller.children.test_children import named
from tests.shadow.controller.resources import ON_TRIAL, PLATFORM, resource


def template(arm: str, **spec: Any) -> Any:
    found = named(children(resource(**spec), ON_TRIAL, PLATFORM))
    return found["Deployment", f"recommender-{arm}"]["spec"]["template"]


def container(arm: str, name: str, **spec: Any) -> Any:
    pod = template(arm, **spec)["spec"]
    return next(each for each in [*pod.get("initContainers", []), *pod["containers"]] if each["name"] == name)


def over(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


def test_maps_are_joined_and_lists_are_added_to() -> None:
    pod = template("shadow", podTemplate=over(nodeSelector={"disk": "ssd"}, tolerations=[{"key": "gpu"}]))["spec"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "gpu"}]


def test_the_overlay_of_the_mirror_lies_on_top_and_leaves_the_primary_alone() -> None:
    spec = {
        "podTemplate": over(nodeSelector={"disk": "ssd", "zone": "a"}),
        "mirror": {"podTemplate": over(nodeSelector={"zone": "b"}, priorityClassName="low")},
    }
    assert template("shadow", **spec)["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "b"}
    assert template("shadow", **spec)["spec"]["priorityClassName"] == "low"
    assert template("primary", **spec)["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "a"}
    assert "priorityClassName" not in template("primary", **spec)["spec"]


def test_labels_are_added_and_selectors_still_find_the_pods() -> None:
    metadata = template("primary", podTemplate={"metadata": {"labels": {"team": "shop"}}})["metadata"]
    assert metadata["labels"]["team"] == "shop"
    assert metadata["labels"]["understudy.dev/arm"] == "primary"


def test_environment_resources_and_mounts_are_of_the_container_that_is_named() -> None:
    one = {
        "name": "router",
        "env": [{"name": "TZ", "value": "UTC"}],
        "resources": {"limits": {"cpu": 2}},
        "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    spec = {"podTemplate": over(containers=[one], volumes=[{"name": "ca", "configMap": {"name": "ca"}}])}
    router = container("primary", "router", **spec)
    assert {"name": "TZ", "value": "UTC"} in router["env"]
    assert router["resources"]["limits"]["cpu"] == 2
    assert router["resources"]["limits"]["memory"] == container("primary", "router")["resources"]["limits"]["memory"]
    assert {"name": "ca", "mountPath": "/ca"} in router["volumeMounts"]
    assert container("primary", "bento", **spec) == container("primary", "bento")


def test_a_quantity_that_is_given_replaces_the_operators() -> None:
    one = {"name": "bento", "resources": {"limits": {"memory": "4Gi"}, "requests": {"memory": "3Gi"}}}
    resources = container("control", "bento", podTemplate=over(containers=[one]))["resources"]
    assert resources["limits"]["memory"] == "4Gi"
    assert resources["limits"]["cpu"] == "1"
    assert resources["requests"]["memory"] == "3Gi"


def test_a_variable_of_the_mirrors_overlay_is_the_one_that_counts() -> None:
    def overlay(value: str) -> Any:
        return {"spec": {"containers": [{"name": "bento", "env": [{"name": "THREADS", "value": value}]}]}}

    spec = {"podTemplate": overlay("4"), "mirror": {"podTemplate": overlay("1")}}
    for arm, value in (("primary", "4"), ("shadow", "1"), ("control", "1")):
        env = container(arm, "bento", **spec)["env"]
        assert [each["value"] for each in env if each["name"] == "THREADS"] == [value]
