"""A pod template with overlays over it: maps by key, lists by name, a single value in the place of the operator's.

What is the operator's alone was refused when the resource was checked (`shadow.controller.rules`). Next module:
`shadow.controller.reconcile`.
"""

from __future__ import annotations

from typing import Any, Final

from shadow.controller.overlay import ContainerOverlay, PodTemplate
from shadow.controller.wire import plain

REPLACED: Final = (
    *("affinity", "topologySpreadConstraints", "priorityClassName", "runtimeClassName", "schedulerName"),
    "serviceAccountName",
)
JOINED: Final = ("tolerations", "imagePullSecrets")
"""Lists to which the overlay's are added."""


def overlaid(template: dict[str, Any], *overlays: PodTemplate) -> dict[str, Any]:
    """`template` with the overlays over it, the last one on top. A container that is not there is passed over."""
    for overlay in overlays:
        template = _over(template, overlay)
    return template


def _over(template: dict[str, Any], overlay: PodTemplate) -> dict[str, Any]:
    metadata, spec, given = template["metadata"], template["spec"], plain(overlay.spec)
    made = spec | {name: given[name] for name in REPLACED if name in given}
    made |= {name: [*spec.get(name, []), *given[name]] for name in JOINED if name in given}
    if overlay.spec.node_selector:
        made["nodeSelector"] = spec.get("nodeSelector", {}) | overlay.spec.node_selector
    if overlay.spec.volumes:
        made["volumes"] = _by("name", spec["volumes"], given["volumes"])
    for kind in ("initContainers", "containers"):
        if kind in made:
            made[kind] = [_container(each, overlay.spec.containers) for each in spec[kind]]
    labels = metadata["labels"] | overlay.metadata.labels
    annotations = metadata["annotations"] | overlay.metadata.annotations
    return {"metadata": metadata | {"labels": labels, "annotations": annotations}, "spec": made}


def _container(container: dict[str, Any], overlays: tuple[ContainerOverlay, ...]) -> dict[str, Any]:
    for overlay in overlays:
        if overlay.name != container["name"]:
            continue
        given = plain(overlay)
        container = container | {
            "env": _by("name", container["env"], given.get("env", [])),
            "resources": {
                kind: container["resources"].get(kind, {}) | given.get("resources", {}).get(kind, {})
                for kind in ("requests", "limits")
            },
            "volumeMounts": _by("mountPath", container["volumeMounts"], given.get("volumeMounts", [])),
        }
        if sources := [*container.get("envFrom", []), *given.get("envFrom", [])]:
            container["envFrom"] = sources
    return container


def _by(key: str, before: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both lists; of two with the same `key` the later one, in the place of the former."""
    return list(({each[key]: each for each in before} | {each[key]: each for each in more}).values())
