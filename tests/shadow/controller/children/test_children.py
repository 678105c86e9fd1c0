"""The children of a resource: what they are called, what finds them, and what restarts whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from shadow.controller.children import children
from shadow.controller.names import HASH_ANNOTATION
from shadow.controller.resource import Serving, ServingArm, ShadowDeployment
from shadow.controller.router_config import router_config
from shadow.controller.wire import Manifest
from shadow.router.config import parse_config
from tests.shadow.controller.resources import CHALLENGER, CHAMPION, ON_TRIAL, PLATFORM, resource


def named(found: Iterable[Manifest]) -> dict[tuple[str, str], Manifest]:
    """The children by kind and name."""
    return {(child["kind"], child["metadata"]["name"]): child for child in found}


def primary_of(sd: ShadowDeployment, serving: Serving = ON_TRIAL) -> Any:
    """The primary's pod template."""
    return named(children(sd, serving, PLATFORM))["Deployment", "recommender-primary"]["spec"]["template"]


def test_each_arm_has_a_deployment_and_a_service_of_its_name() -> None:
    found = named(children(resource(), ON_TRIAL, PLATFORM))
    for arm in ("shadow", "control"):
        assert ("Deployment", f"recommender-{arm}") in found
        assert ("Service", f"recommender-{arm}") in found


def test_users_reach_the_router_and_copies_the_bento_of_an_arm() -> None:
    found = named(children(resource(), ON_TRIAL, PLATFORM))
    assert found["Service", "recommender"]["spec"]["ports"][0]["targetPort"] == "users"
    assert found["Service", "recommender-shadow"]["spec"]["ports"][0]["targetPort"] == "bento"


def test_the_primary_starts_shipper_then_router_then_bento() -> None:
    spec = primary_of(resource())["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["shipper", "router"]
    assert [each["restartPolicy"] for each in spec["initContainers"]] == ["Always", "Always"]
    assert [each["name"] for each in spec["containers"]] == ["bento"]


def pod_of(arm: str, **spec: Any) -> Any:
    """Its pods' specification, while a trial is on."""
    found = named(children(resource(**spec), ON_TRIAL, PLATFORM))
    return found["Deployment", f"recommender-{arm}"]["spec"]["template"]["spec"]


def test_the_routers_drain_is_over_before_the_bento_is_told_to_end() -> None:
    router = {"existingSecret": "r", "deregisterSeconds": 40, "drainSeconds": 70}
    pod = pod_of("primary", router=router)
    drain, sleep = pod["initContainers"][1]["lifecycle"]["preStop"], pod["containers"][0]["lifecycle"]["preStop"]
    assert drain["exec"]["command"][:4] == ["understudy", "router", "config", "drain"]
    assert 40 + 70 < sleep["sleep"]["seconds"] < pod["terminationGracePeriodSeconds"]
    assert "lifecycle" not in pod["initContainers"][0]


def test_no_probe_of_the_router_waits_for_the_bento_behind_it() -> None:
    """A sidecar that starts when the bento answers would wait for a container that starts after it."""
    _, router = pod_of("primary")["initContainers"]
    assert router["startupProbe"]["httpGet"] == {"path": "/livez", "port": "observe"}
    assert router["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "observe"}


def test_credentials_come_from_the_secrets_that_are_named_and_arms_may_only_read() -> None:
    spec = {
        "features": {"existingSecret": "redis"},
        "router": {"existingSecret": "keys"},
        "pairLog": {"destination": "s3://b/p", "existingSecret": "store"},
    }

    def secrets(container: Any) -> set[tuple[str, str]]:
        found = [each["valueFrom"].get("secretKeyRef") for each in container["env"] if "valueFrom" in each]
        return {(each["name"], each["key"]) for each in found if each}

    primary = pod_of("primary", **spec)
    shipper, router = primary["initContainers"]
    assert secrets(primary["containers"][0]) == {("redis", "writer-url")}
    assert secrets(router) == {("keys", "unit-key"), ("keys", "admin-token"), ("keys", "control-token")}
    assert (secrets(shipper), shipper["envFrom"]) == (set(), [{"secretRef": {"name": "store"}}])
    for arm in ("shadow", "control"):
        pod = pod_of(arm, **spec)
        assert secrets(pod["containers"][0]) == {("redis", "reader-url")}
        assert ("initContainers" in pod, "envFrom" in pod["containers"][0]) == (False, False)


def test_pods_are_spread_where_that_can_be_and_confined() -> None:
    for arm in ("primary", "shadow", "control"):
        pod = pod_of(arm)
        assert {each["whenUnsatisfiable"] for each in pod["topologySpreadConstraints"]} == {"ScheduleAnyway"}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_nothing_about_shadows_changes_the_pods_of_production() -> None:
    before = primary_of(resource(), Serving(CHAMPION))
    more = ServingArm("other", "shadow", CHALLENGER)
    changed = resource(
        mirror={"percent": 3, "routes": [{"path": "/recommend"}, {"path": "/other"}], "replicas": 4, "concurrency": 2},
        control={"percent": 1},
        shadows=[{"name": "other", "model": msgspec.to_builtins(CHALLENGER)}],
        gate={"minPairs": 5},
        paused=True,
    )
    assert primary_of(changed, Serving(CHAMPION, (*ON_TRIAL.arms, more))) == before


def test_the_hash_changes_with_the_child_and_only_with_it() -> None:
    one = named(children(resource(), ON_TRIAL, PLATFORM))
    other = named(children(resource(mirror={"percent": 5}), ON_TRIAL, PLATFORM))
    differing = [
        name
        for name in one
        if one[name]["metadata"]["annotations"][HASH_ANNOTATION]
        != other[name]["metadata"]["annotations"][HASH_ANNOTATION]
    ]
    assert differing == [("ConfigMap", "recommender-router")]


def test_the_configuration_is_one_that_a_router_takes() -> None:
    config = router_config(resource(mirror={"percent": 5}, control={"percent": 2}), ON_TRIAL)
    taken = parse_config(msgspec.json.encode(config), "test")
    assert [(arm.name, arm.url, arm.fraction) for arm in taken.arms] == [
        ("shadow", "http://recommender-shadow:3000", 0.05),
        ("control", "http://recommender-control:3000", 0.02),
    ]


def test_production_outlives_the_resource_and_its_shadows_do_not() -> None:
    sd = resource()
    sd = msgspec.structs.replace(sd, metadata=msgspec.structs.replace(sd.metadata, uid="u1"))
    owned = {
        name
        for name, child in named(children(sd, ON_TRIAL, PLATFORM)).items()
        if "ownerReferences" in child["metadata"]
    }
    assert owned == {("NetworkPolicy", "recommender-arms")} | {
        (kind, f"recommender-{arm}") for kind in ("Deployment", "Service") for arm in ("shadow", "control")
    }
