"""Names, labels and ports of the children. A selector never has a version: rolling an image changes none.

Next module: `shadow.controller.children.pods`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from shadow.controller.kinds import RESOURCE, Kind
from shadow.controller.resource import GROUP, ShadowDeployment
from shadow.controller.wire import Manifest

BENTO_PORT: Final = 3000
PRIMARY: Final = "primary"
SHADOW: Final = "shadow"
CONTROL: Final = "control"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
"""The name of the resource."""
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
"""What the arm is to it: primary, shadow or control."""
MANAGED_LABEL: Final = "app.kubernetes.io/managed-by"
ARM_LABEL: Final = f"{GROUP}/arm"
BENTO_ANNOTATION: Final = f"{GROUP}/bento"
EXCEPTIONS: Final = {
    "kube-score/ignore": "container-image-pull-policy,container-security-context-user-group-id",
}
"""Of Deployments, to kube-score: images have exact tags, so there is no need to ask the registry at every start; the
number of BentoML's user is its image's."""
HASH_ANNOTATION: Final = f"{GROUP}/spec-hash"
TAKE_BACK: Final = f"{GROUP}/take-back"
"""A person annotates a child with it to give its fields back to the operator."""
MANAGER: Final = "understudy-operator"
"""Field manager of server-side apply, and app.kubernetes.io/managed-by."""
LONGEST_NAME: Final = 40
"""Of a resource: with an arm of at most 20 characters behind it, it is a label of 62."""
RESERVED_ARMS: Final = (PRIMARY, SHADOW, CONTROL, "router", "arms", "operator")
"""What may follow a resource's name and one hyphen in the names of objects: of its children, and of the chart's. So no
resource's name ends so, none has two hyphens in a row, and two resources never have a child in common."""
FURTHER: Final = "--"
"""Between a resource's name and that of a further shadow, which is anybody's choice."""
RESERVED: Final = ("app.kubernetes.io/", f"{GROUP}/")
"""Prefixes of labels and annotations that are the operator's."""


def arm_name(resource: ShadowDeployment, arm: str) -> str:
    """Of the objects of an arm."""
    return f"{resource.metadata.name}{'-' if arm in RESERVED_ARMS else FURTHER}{arm}"


def selector(resource: ShadowDeployment, arm: str | None = None) -> dict[str, str]:
    """Labels by which pods of `arm` are found; without one, all pods of the resource."""
    found = {"app.kubernetes.io/name": "understudy", INSTANCE_LABEL: resource.metadata.name}
    return found | ({ARM_LABEL: arm} if arm is not None else {})


def labels(resource: ShadowDeployment, component: str, arm: str) -> dict[str, str]:
    """All labels of what belongs to `arm`; `component` is primary, shadow or control."""
    return selector(resource, arm) | {COMPONENT_LABEL: component, MANAGED_LABEL: MANAGER}


def manifest(
    resource: ShadowDeployment,
    kind: Kind,
    name: str,
    component: str,
    arm: str,
    body: dict[str, Any],
    annotations: dict[str, str] | None = None,
) -> Manifest:
    """One child. `body` is what stands beside its metadata."""
    metadata: dict[str, Any] = {"name": name, "labels": labels(resource, component, arm)}
    if resource.metadata.namespace:
        metadata["namespace"] = resource.metadata.namespace
    if annotations:
        metadata["annotations"] = annotations
    if owner := _owners(resource, component):
        metadata["ownerReferences"] = owner
    return kind.head | {"metadata": metadata} | body


def _owners(resource: ShadowDeployment, component: str) -> list[dict[str, Any]]:
    """Who takes the child along when it goes. Production outlives the resource unless the policy is Delete."""
    metadata = resource.metadata
    if not metadata.uid or (component == PRIMARY and resource.spec.deletion_policy != "Delete"):
        return []
    owner = {"name": metadata.name, "uid": metadata.uid, "controller": True, "blockOwnerDeletion": False}
    return [RESOURCE.head | owner]


def hashed(child: Manifest) -> Manifest:
    """`child` with the annotation that tells whether it is still what was wanted: 16 hex digits over all of it."""
    digest = hashlib.sha256(json.dumps(child, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]
    annotations = child["metadata"].get("annotations", {}) | {HASH_ANNOTATION: digest}
    return child | {"metadata": child["metadata"] | {"annotations": annotations}}
