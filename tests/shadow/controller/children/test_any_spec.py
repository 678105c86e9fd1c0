"""What holds for the children of any valid spec, whoever plays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shadow.controller.checks import check
from shadow.controller.children import children
from shadow.controller.names import ARM_LABEL
from shadow.controller.overlay import SET_BY_OPERATOR, VOLUMES
from shadow.controller.resource import Platform, Serving, ShadowDeployment
from shadow.controller.router_config import router_config
from shadow.controller.wire import Manifest
from shadow.router.config import parse_config
from tests.shadow.controller.resources import ALONE, CHAMPION, PLATFORM, resource
from tests.shadow.controller.specs import PRODUCTIONS, TRIALS, plays, resources

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Not shrunk: the schemas are large, and the child says enough."""
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
VERSIONS = tuple(f"1.{minor}" for minor in range(30, 38))
PLATFORMS = st.sampled_from([PLATFORM, ALONE])


def template_of(sd: ShadowDeployment, serving: Serving, platform: Platform) -> Any:
    """The primary's pod template."""
    name = f"{sd.metadata.name}-primary"
    found = [each for each in children(sd, serving, platform) if each["metadata"]["name"] == name]
    return next(each["spec"]["template"] for each in found if each["kind"] == "Deployment")


def containers(child: Manifest) -> Iterator[dict[str, Any]]:
    spec = child["spec"]["template"]["spec"]
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


@FEW
@given(resources(), PLATFORMS, st.sampled_from(VERSIONS))
def test_manifests_are_valid_for_kubernetes(sd: ShadowDeployment, platform: Platform, version: str) -> None:
    check(sd)
    for child in children(sd, plays(sd), platform):
        kubernetes_validate.validate(child, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_least_is_valid_for_every_version(version: str) -> None:
    for child in children(resource(), plays(resource()), PLATFORM):
        kubernetes_validate.validate(child, version, strict=True)


@MANY
@given(PRODUCTIONS, TRIALS, TRIALS, PLATFORMS, st.booleans())
def test_no_change_of_a_trial_changes_the_pods_of_production(
    production: dict[str, Any], one: dict[str, Any], other: dict[str, Any], platform: Platform, shadow: bool
) -> None:
    before, after = resource(**(production | one)), resource(**(production | other))
    template = template_of(before, plays(before), platform)
    assert template_of(after, plays(after, shadow), platform) == template
    assert template_of(after, Serving(CHAMPION), platform) == template


@MANY
@given(resources(), PLATFORMS)
def test_names_and_labels_are_short_enough_and_no_two_children_share_one(
    sd: ShadowDeployment, platform: Platform
) -> None:
    found = children(sd, plays(sd), platform)
    assert len({(child["kind"], child["metadata"]["name"]) for child in found}) == len(found)
    for child in found:
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", child["metadata"]["name"])
        assert all(len(value) <= 63 for value in child["metadata"]["labels"].values())


@MANY
@given(resources(), PLATFORMS)
def test_manifests_have_the_types_of_json_alone(sd: ShadowDeployment, platform: Platform) -> None:
    for child in children(sd, plays(sd), platform):
        assert json.loads(json.dumps(child)) == child


@MANY
@given(resources())
def test_selectors_have_no_version_and_find_the_pods_of_their_own_arm(sd: ShadowDeployment) -> None:
    for child in children(sd, plays(sd), PLATFORM):
        if child["kind"] == "Deployment":
            selector = child["spec"]["selector"]["matchLabels"]
            labels = child["spec"]["template"]["metadata"]["labels"]
            assert selector.keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance", ARM_LABEL}
            assert selector.items() <= labels.items()


@MANY
@given(resources(), PLATFORMS)
def test_every_container_is_locked_down_and_bounded(sd: ShadowDeployment, platform: Platform) -> None:
    for child in children(sd, plays(sd), platform):
        if child["kind"] != "Deployment":
            continue
        spec = child["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in containers(child):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"memory", "ephemeral-storage"} <= container["resources"]["limits"].keys()
        for volume in spec["volumes"]:
            if volume["name"] in VOLUMES and volume["name"] != "config":
                assert volume["emptyDir"]["sizeLimit"]


@MANY
@given(resources(), PLATFORMS)
def test_what_an_overlay_may_not_set_is_what_the_operator_sets(sd: ShadowDeployment, platform: Platform) -> None:
    sd = msgspec.structs.replace(
        sd,
        spec=msgspec.structs.replace(sd.spec, pod_template=resource().spec.pod_template, mirror=resource().spec.mirror),
    )
    for child in children(sd, plays(sd), platform):
        for container in containers(child) if child["kind"] == "Deployment" else ():
            assert {one["name"] for one in container["env"]} <= set(SET_BY_OPERATOR[container["name"]])


@MANY
@given(resources())
def test_the_configuration_is_one_that_a_router_takes(sd: ShadowDeployment) -> None:
    parse_config(msgspec.json.encode(router_config(sd, plays(sd))), "test")
