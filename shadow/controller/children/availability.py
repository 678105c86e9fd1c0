"""What keeps pods there: PodDisruptionBudgets, and a HorizontalPodAutoscaler of the primary if it is asked for.

Next module: `shadow.controller.children.overlaid`.
"""

from __future__ import annotations

from typing import Any, Final

from shadow.controller.kinds import AUTOSCALER, DEPLOYMENT, DISRUPTION_BUDGET
from shadow.controller.names import PRIMARY, arm_name, manifest, selector
from shadow.controller.parts import Autoscaling
from shadow.controller.resource import ServingArm, ShadowDeployment
from shadow.controller.wire import Manifest

SCALED: Final = ("bento", "router")
"""Containers whose CPU counts; the busier one decides."""


def disruption_budget(resource: ShadowDeployment) -> Manifest:
    """A drain of nodes takes the primary's pods one at a time; one that does not serve holds no drain up."""
    return _budget(resource, PRIMARY, PRIMARY)


def arm_budget(resource: ShadowDeployment, arm: ServingArm) -> Manifest:
    """The same for an arm of several pods: what it cannot answer would count as its failure."""
    return _budget(resource, arm.role, arm.name)


def _budget(resource: ShadowDeployment, component: str, arm: str) -> Manifest:
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(resource, arm)},
    }
    return manifest(resource, DISRUPTION_BUDGET, arm_name(resource, arm), component, arm, {"spec": spec})


def autoscaler(resource: ShadowDeployment, scaling: Autoscaling) -> Manifest:
    """Doubles at once, and takes one pod a minute away: a pod's end takes half of one."""
    name = arm_name(resource, PRIMARY)
    spec = {
        "scaleTargetRef": DEPLOYMENT.head | {"name": name},
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [_cpu(container, scaling.cpu_percent) for container in SCALED],
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [
                    {"type": "Percent", "value": 100, "periodSeconds": 30},
                    {"type": "Pods", "value": 2, "periodSeconds": 30},
                ],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": scaling.scale_down_seconds,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
            },
        },
    }
    return manifest(resource, AUTOSCALER, name, PRIMARY, PRIMARY, {"spec": spec})


def _cpu(container: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": container, "target": target},
    }
