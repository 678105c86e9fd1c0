"""The Kubernetes objects of a `ShadowDeployment`: pure, one module for each kind. Start with `names`."""

from __future__ import annotations

from shadow.controller.children.arms import arm_deployment
from shadow.controller.children.availability import arm_budget, autoscaler, disruption_budget
from shadow.controller.children.config_map import config_map
from shadow.controller.children.network import network_policies
from shadow.controller.children.primary import primary
from shadow.controller.children.services import arm_service, users_service
from shadow.controller.names import hashed
from shadow.controller.resource import Platform, Serving, ShadowDeployment
from shadow.controller.wire import Manifest


def children(resource: ShadowDeployment, serving: Serving, platform: Platform) -> tuple[Manifest, ...]:
    """All objects that make `serving` real, in the order in which they are to be applied.

    The primary's pod template is the same whatever the arms and their shares are.
    """
    scaling = resource.spec.autoscaling
    found = [
        *network_policies(resource, platform),
        config_map(resource, serving),
        users_service(resource),
        *(arm_service(resource, arm) for arm in serving.arms),
        primary(resource, serving, platform),
        *(arm_deployment(resource, arm, platform) for arm in serving.arms),
        disruption_budget(resource),
        *(arm_budget(resource, arm) for arm in serving.arms if resource.spec.mirror.replicas > 1),
        *([autoscaler(resource, scaling)] if scaling is not None else []),
    ]
    return tuple(hashed(child) for child in found)
