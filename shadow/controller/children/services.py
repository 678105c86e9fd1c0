"""Services: one for users, one for each arm. Next module: `shadow.controller.children.config_map`."""

from __future__ import annotations

from shadow.controller.kinds import SERVICE
from shadow.controller.names import BENTO_PORT, PRIMARY, arm_name, manifest, selector
from shadow.controller.resource import ServingArm, ShadowDeployment
from shadow.controller.wire import Manifest


def users_service(resource: ShadowDeployment) -> Manifest:
    """`<name>`: port 80 of the routers."""
    return _service(resource, resource.metadata.name, PRIMARY, PRIMARY, 80, "users")


def arm_service(resource: ShadowDeployment, arm: ServingArm) -> Manifest:
    """`<name>-<arm>`: where routers send copies."""
    return _service(resource, arm_name(resource, arm.name), arm.role, arm.name, BENTO_PORT, "bento")


def _service(resource: ShadowDeployment, name: str, component: str, arm: str, port: int, target: str) -> Manifest:
    ports = [{"name": "http", "port": port, "targetPort": target, "protocol": "TCP"}]
    body = {"spec": {"type": "ClusterIP", "selector": selector(resource, arm), "ports": ports}}
    return manifest(resource, SERVICE, name, component, arm, body)
