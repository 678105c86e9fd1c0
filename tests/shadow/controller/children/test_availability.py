"""What keeps the primary there."""

from __future__ import annotations

from typing import Any

import pytest

from shadow.controller.children import children
from tests.shadow.controller.children.test_children import named
from tests.shadow.controller.resources import ON_TRIAL, PLATFORM, resource


def child(kind: str, **spec: Any) -> Any:
    return named(children(resource(**spec), ON_TRIAL, PLATFORM))[kind, "recommender-primary"]["spec"]


def test_a_drain_takes_one_pod_of_the_primary_at_a_time() -> None:
    budget = child("PodDisruptionBudget")
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == child("Deployment")["selector"]


def test_an_autoscaler_owns_the_replicas() -> None:
    assert child("Deployment")["replicas"] == 2
    assert "replicas" not in child("Deployment", autoscaling={"maxReplicas": 6})


def test_the_autoscaler_looks_at_bento_and_router_and_lets_pods_go_one_by_one() -> None:
    scaler = child("HorizontalPodAutoscaler", autoscaling={"maxReplicas": 6, "cpuPercent": 60})
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    assert [metric["containerResource"]["container"] for metric in scaler["metrics"]] == ["bento", "router"]
    assert scaler["behavior"]["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_rolling_never_takes_a_pod_before_another_serves() -> None:
    assert child("Deployment")["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize(("given", "deadline"), [(10, 600), (900, 1_800)])
def test_a_model_that_loads_slowly_is_waited_for(given: int, deadline: int) -> None:
    deployment = child("Deployment", startupSeconds=given)
    assert deployment["template"]["spec"]["containers"][0]["startupProbe"]["failureThreshold"] == given
    assert deployment["progressDeadlineSeconds"] == deadline


def test_an_arm_of_several_pods_is_drained_one_by_one_and_an_arm_of_one_holds_up_no_drain() -> None:
    found = named(children(resource(mirror={"replicas": 2}), ON_TRIAL, PLATFORM))
    for arm in ("shadow", "control"):
        budget = found["PodDisruptionBudget", f"recommender-{arm}"]["spec"]
        assert budget["selector"] == found["Deployment", f"recommender-{arm}"]["spec"]["selector"]
        assert budget["maxUnavailable"] == 1
    assert ("PodDisruptionBudget", "recommender-shadow") not in named(children(resource(), ON_TRIAL, PLATFORM))
