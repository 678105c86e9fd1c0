"""Deployments of shadow, control and further shadows: a bento each, alike in everything but the image.

Next module: `shadow.controller.children.services`.
"""

from __future__ import annotations

from typing import Any, Final

from shadow.controller.children.overlaid import overlaid
from shadow.controller.children.pods import TEMPORARY_VOLUME, bento, pod_spec, progress_seconds, volume
from shadow.controller.kinds import DEPLOYMENT
from shadow.controller.limits import ARM_GRACE_SECONDS, ARM_SLEEP_SECONDS, TEMPORARY
from shadow.controller.names import BENTO_ANNOTATION, EXCEPTIONS, arm_name, labels, manifest, selector
from shadow.controller.resource import Platform, ServingArm, ShadowDeployment
from shadow.controller.wire import Manifest, size

CPU_LIMIT: Final = {"cpu": "1"}
"""A trial must not take the cores of production."""


def arm_deployment(resource: ShadowDeployment, arm: ServingArm, platform: Platform) -> Manifest:
    """The Deployment of one arm."""
    spec: dict[str, Any] = {
        "replicas": resource.spec.mirror.replicas,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": progress_seconds(resource),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": selector(resource, arm.name)},
        "template": overlaid(
            {
                "metadata": {
                    "labels": labels(resource, arm.role, arm.name),
                    "annotations": {BENTO_ANNOTATION: arm.version.bento},
                },
                "spec": pod_spec(resource, arm.name, platform.shadow_priority_class)
                | {
                    "terminationGracePeriodSeconds": ARM_GRACE_SECONDS,
                    "containers": [bento(resource, arm.version, platform, "reader-url", ARM_SLEEP_SECONDS, CPU_LIMIT)],
                    "volumes": [volume(TEMPORARY_VOLUME, size(TEMPORARY))],
                },
            },
            resource.spec.pod_template,
            resource.spec.mirror.pod_template,
        ),
    }
    name = arm_name(resource, arm.name)
    return manifest(resource, DEPLOYMENT, name, arm.role, arm.name, {"spec": spec}, EXCEPTIONS)
