"""What all pods have alike: nobody's root, nothing to write on but volumes, no token; and the bento's container.

Next module: `shadow.controller.children.primary`.
"""

from __future__ import annotations

from typing import Any, Final

from shadow.controller.limits import BENTO_DRAIN_SECONDS, LOGS, TEMPORARY
from shadow.controller.names import BENTO_PORT, selector
from shadow.controller.overlay import VOLUMES
from shadow.controller.parts import Version
from shadow.controller.resource import Platform, ShadowDeployment
from shadow.controller.wire import size

USER: Final = 1034
"""Of the bentos' images; the kubelet can verify only a number."""
HOME: Final = "/tmp/bentoml"  # noqa: S108 - a volume of the pod alone
TEMPORARY_VOLUME: Final = "tmp"
LOCKED: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Final[dict[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_spec(resource: ShadowDeployment, arm: str, priority_class: str) -> dict[str, Any]:
    """The part of a pod's specification that is the same for all; containers and volumes come to it."""
    spread = {
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(resource, arm)},
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "topologySpreadConstraints": [
            spread | {"topologyKey": key, "matchLabelKeys": ["pod-template-hash"]}
            for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
    }
    return spec | ({"priorityClassName": priority_class} if priority_class else {})


def bento(
    resource: ShadowDeployment,
    version: Version,
    platform: Platform,
    url_key: str,
    sleep_seconds: int,
    limits: dict[str, str],
) -> dict[str, Any]:
    """The bento's container; `url_key` is the key of the Redis URL in the Secret of the features."""
    spec = resource.spec
    environment = [
        secret_variable("UNDERSTUDY_REDIS_URL", spec.features.existing_secret, url_key),
        variable("UNDERSTUDY_FEATURE_DEADLINE_MS", str(spec.features.deadline_milliseconds)),
        variable("UNDERSTUDY_DRAIN_SECONDS", str(BENTO_DRAIN_SECONDS)),
        variable("BENTOML_HOME", HOME),
        variable("BENTOML_DO_NOT_TRACK", "True"),
        variable("BENTOML_PORT", str(BENTO_PORT)),
    ]
    if spec.registry_url:
        environment.append(variable("UNDERSTUDY_REGISTRY_URL", spec.registry_url))
    storage = size(TEMPORARY + LOGS)
    return {
        "name": "bento",
        "image": version.image,
        "imagePullPolicy": platform.pull_policy,
        "env": environment,
        "ports": [{"name": "bento", "containerPort": BENTO_PORT}],
        # Nothing answers before the model is loaded, and early probes hang: hence the short timeout.
        "startupProbe": probe("/readyz", "bento", period=1, failures=spec.startup_seconds),
        "readinessProbe": probe("/readyz", "bento", period=2, failures=3),
        "livenessProbe": probe("/livez", "bento", period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": sleep_seconds}}},
        "resources": {
            "requests": {"cpu": "250m", "memory": "768Mi", "ephemeral-storage": storage},
            "limits": {"memory": "1Gi", "ephemeral-storage": storage} | limits,
        },
        "securityContext": LOCKED,
        "volumeMounts": [{"name": TEMPORARY_VOLUME, "mountPath": VOLUMES[TEMPORARY_VOLUME]}],
    }


def progress_seconds(resource: ShadowDeployment) -> int:
    """After so long without another pod that is ready a rollout is told to be stuck."""
    return max(600, 2 * resource.spec.startup_seconds)


def probe(path: str, port: str, period: int, failures: int) -> dict[str, Any]:
    """An HTTP probe that waits two seconds at most."""
    get = {"path": path, "port": port}
    return {"httpGet": get, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures}


def variable(name: str, value: str) -> dict[str, Any]:
    """An environment variable."""
    return {"name": name, "value": value}


def secret_variable(name: str, secret: str, key: str, optional: bool = False) -> dict[str, Any]:
    """An environment variable from a Secret; `optional`: the pod starts without it, too."""
    reference = {"name": secret, "key": key} | ({"optional": True} if optional else {})
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def volume(name: str, limit: str) -> dict[str, Any]:
    """An emptyDir that the kubelet evicts the pod for when it outgrows `limit`."""
    return {"name": name, "emptyDir": {"sizeLimit": limit}}
