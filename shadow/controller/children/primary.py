"""The primary's Deployment: the bento, and before it as native sidecars the shipper and the router.

Its pod template follows from `model`, `router`, `pairLog`, `features`, `registryURL`, `startupSeconds` and
`podTemplate` alone. Nothing about a shadow may get into it: it would restart production. Next module:
`shadow.controller.children.arms`.
"""

from __future__ import annotations

from typing import Any, Final

from shadow.controller.children.overlaid import overlaid
from shadow.controller.children.pods import (
    LOCKED,
    TEMPORARY_VOLUME,
    bento,
    pod_spec,
    probe,
    progress_seconds,
    secret_variable,
    variable,
    volume,
)
from shadow.controller.kinds import DEPLOYMENT
from shadow.controller.limits import (
    LOGS,
    STATE,
    TEMPORARY,
    bento_sleep,
    grace_seconds,
    router_memory,
    shipper_memory,
    spool_limit,
)
from shadow.controller.names import BENTO_ANNOTATION, EXCEPTIONS, PRIMARY, arm_name, labels, manifest, selector
from shadow.controller.overlay import VOLUMES
from shadow.controller.resource import Platform, Serving, ShadowDeployment
from shadow.controller.router_config import ADMIN, LISTEN_PORT, OBSERVE_PORT, SHIPPER_PORT, SOCKET
from shadow.controller.wire import Manifest, size, size_of

CONFIG: Final = VOLUMES["config"]
CONFIG_FILE: Final = "router.json"
STATE_DIRECTORY: Final = VOLUMES["state"]
SPOOL: Final = VOLUMES["spool"]
RUN: Final = VOLUMES["run"]
ROUTER_USER: Final[dict[str, Any]] = {"runAsUser": 65_532, "runAsGroup": 65_532}
"""Of the router's image. The pod's fsGroup lets both users write to the volumes."""


def config_map_name(resource: ShadowDeployment) -> str:
    """Of the ConfigMap with the router's configuration."""
    return f"{resource.metadata.name}-router"


def primary(resource: ShadowDeployment, serving: Serving, platform: Platform) -> Manifest:
    """The Deployment. An autoscaler owns its replicas, if there is one."""
    spec = resource.spec
    body: dict[str, Any] = {} if spec.autoscaling is not None else {"replicas": spec.replicas}
    body |= {
        "revisionHistoryLimit": 5,
        "progressDeadlineSeconds": progress_seconds(resource),
        "minReadySeconds": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": selector(resource, PRIMARY)},
        "template": _template(resource, serving, platform),
    }
    name = arm_name(resource, PRIMARY)
    return manifest(resource, DEPLOYMENT, name, PRIMARY, PRIMARY, {"spec": body}, EXCEPTIONS)


def _template(resource: ShadowDeployment, serving: Serving, platform: Platform) -> dict[str, Any]:
    router, log = resource.spec.router, resource.spec.pair_log
    spec = pod_spec(resource, PRIMARY, platform.priority_class) | {
        "terminationGracePeriodSeconds": grace_seconds(router, log),
        "initContainers": [_shipper(resource, platform), _router(resource, platform)],
        "containers": [bento(resource, serving.primary, platform, "writer-url", bento_sleep(router), {})],
        "volumes": [
            volume(TEMPORARY_VOLUME, size(TEMPORARY)),
            volume("run", size(STATE)),
            volume("state", size(STATE)),
            volume("spool", spool_limit(log)),
            {"name": "config", "configMap": {"name": config_map_name(resource)}},
        ],
    }
    annotations = {
        BENTO_ANNOTATION: serving.primary.bento,
        "kubectl.kubernetes.io/default-container": "bento",
    }
    metadata = {"labels": labels(resource, PRIMARY, PRIMARY), "annotations": annotations}
    return overlaid({"metadata": metadata, "spec": spec}, resource.spec.pod_template)


def _router(resource: ShadowDeployment, platform: Platform) -> dict[str, Any]:
    secret, storage = resource.spec.router.existing_secret, size(2 * STATE + LOGS)
    memory = router_memory(resource.spec.router)
    return {
        "name": "router",
        "image": platform.router_image,
        "imagePullPolicy": platform.pull_policy,
        "restartPolicy": "Always",
        "command": ["understudy", "router", *_source(resource, platform)],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            secret_variable("UNDERSTUDY_UNIT_KEY", secret, "unit-key"),
            secret_variable("UNDERSTUDY_ADMIN_TOKEN", secret, "admin-token"),
            secret_variable("UNDERSTUDY_CONTROL_TOKEN", secret, "control-token", optional=True),
        ],
        "ports": [
            {"name": "users", "containerPort": LISTEN_PORT},
            {"name": "observe", "containerPort": OBSERVE_PORT},
        ],
        # The router's own, never the bento's through it: a start that waits for the bento would wait for itself.
        "startupProbe": probe("/livez", "observe", period=1, failures=60),
        "readinessProbe": probe("/readyz", "observe", period=2, failures=3),
        "livenessProbe": probe("/livez", "observe", period=10, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": ["understudy", "router", "config", "drain", "--admin", ADMIN]}}},
        "resources": {
            "requests": {"cpu": "100m", "memory": memory, "ephemeral-storage": storage},
            "limits": {"memory": memory, "ephemeral-storage": storage},
        },
        "securityContext": LOCKED | ROUTER_USER,
        "volumeMounts": [
            {"name": "run", "mountPath": RUN},
            {"name": "state", "mountPath": STATE_DIRECTORY},
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
        ],
    }


def _source(resource: ShadowDeployment, platform: Platform) -> list[str]:
    """Where the router's configuration comes from."""
    file = f"{CONFIG}/{CONFIG_FILE}"
    if not platform.control_url:
        return ["--config", file, "--state", STATE_DIRECTORY]
    url = f"{platform.control_url.rstrip('/')}/{resource.metadata.namespace}/{resource.metadata.name}"
    remote = ["--config-server", url, "--name", "$(POD_NAME)", "--admin", ADMIN, "--state", STATE_DIRECTORY]
    return [*remote, "--seed", file]


def _shipper(resource: ShadowDeployment, platform: Platform) -> dict[str, Any]:
    log = resource.spec.pair_log
    memory, storage = shipper_memory(log), size(size_of(spool_limit(log)) + LOGS)
    settings = {
        "SOCKET": SOCKET,
        "SPOOL": SPOOL,
        "DESTINATION": log.destination,
        "SEGMENT_BYTES": str(size_of(log.segment_size)),
        "SEGMENT_SECONDS": str(log.segment_seconds),
        "SPOOL_BYTES": str(size_of(log.spool_size)),
        "WHEN_FULL": {"DropOldest": "drop_oldest", "StopMirroring": "stop_mirroring"}[log.when_full],
        "DRAIN_SECONDS": str(log.drain_seconds),
        "METRICS": f"0.0.0.0:{SHIPPER_PORT}",
        "ENDPOINT": log.endpoint,
        "ENCRYPTION": log.encryption,
        "KMS_KEY": log.kms_key,
    }
    environment = [variable(f"UNDERSTUDY_SHIPPER_{name}", value) for name, value in settings.items() if value]
    if log.region:
        environment.append(variable("AWS_REGION", log.region))
    container = {
        "name": "shipper",
        "image": platform.router_image,
        "imagePullPolicy": platform.pull_policy,
        "restartPolicy": "Always",
        "command": ["understudy", "shipper", "--keep"],
        "env": environment,
        "ports": [{"name": "shipper", "containerPort": SHIPPER_PORT}],
        # A pod whose shipper cannot start never gets ready, so it replaces no other; later its trouble is no user's.
        "startupProbe": probe("/metrics", "shipper", period=1, failures=60),
        "resources": {
            "requests": {"cpu": "50m", "memory": memory, "ephemeral-storage": storage},
            "limits": {"memory": memory, "ephemeral-storage": storage},
        },
        "securityContext": LOCKED | ROUTER_USER,
        "volumeMounts": [{"name": "run", "mountPath": RUN}, {"name": "spool", "mountPath": SPOOL}],
    }
    return container | ({"envFrom": [{"secretRef": {"name": log.existing_secret}}]} if log.existing_secret else {})
