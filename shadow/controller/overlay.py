"""`podTemplate`: what a user may add to the pods that the operator makes. What is not here cannot be overridden.

Next module: `shadow.controller.parts`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from shadow.controller.wire import Free, Mounted, Named, Part, Quantity

Container = Literal["bento", "router", "shipper"]
Labels = Annotated[dict[str, str], Meta(max_length=32)]
SET_BY_OPERATOR: Final[dict[Container, tuple[str, ...]]] = {
    "bento": (
        *(
            "UNDERSTUDY_REDIS_URL",
            "UNDERSTUDY_FEATURE_DEADLINE_MS",
            "UNDERSTUDY_DRAIN_SECONDS",
            "UNDERSTUDY_REGISTRY_URL",
        ),
        *("BENTOML_HOME", "BENTOML_DO_NOT_TRACK", "BENTOML_PORT"),
    ),
    "router": ("POD_NAME", "UNDERSTUDY_UNIT_KEY", "UNDERSTUDY_ADMIN_TOKEN", "UNDERSTUDY_CONTROL_TOKEN"),
    "shipper": (
        *("UNDERSTUDY_SHIPPER_SOCKET", "UNDERSTUDY_SHIPPER_SPOOL", "UNDERSTUDY_SHIPPER_DESTINATION"),
        *("UNDERSTUDY_SHIPPER_SEGMENT_BYTES", "UNDERSTUDY_SHIPPER_SEGMENT_SECONDS", "UNDERSTUDY_SHIPPER_SPOOL_BYTES"),
        *("UNDERSTUDY_SHIPPER_WHEN_FULL", "UNDERSTUDY_SHIPPER_DRAIN_SECONDS", "UNDERSTUDY_SHIPPER_METRICS"),
        *("UNDERSTUDY_SHIPPER_ENDPOINT", "UNDERSTUDY_SHIPPER_ENCRYPTION", "UNDERSTUDY_SHIPPER_KMS_KEY", "AWS_REGION"),
    ),
}
"""Environment variables that follow from other fields of spec, and so cannot be set in an overlay."""
VOLUMES: Final[dict[str, str]] = {
    "tmp": "/tmp",  # noqa: S108 - a volume of the pod alone
    "run": "/run/understudy",
    "state": "/var/lib/understudy",
    "spool": "/var/spool/understudy",
    "config": "/etc/understudy",
}
"""The operator's volumes, and where they are mounted."""


class OverlayMetadata(Part, frozen=True, kw_only=True):
    """Labels and annotations of the pods."""

    labels: Labels = field(default_factory=dict)
    """Added to every pod. Never app.kubernetes.io/… or understudy.dev/…, which are the operator's."""
    annotations: Labels = field(default_factory=dict)
    """Added to every pod. Never understudy.dev/…."""


class Resources(Part, frozen=True, kw_only=True):
    """What a container gets; each quantity that is given replaces the operator's own."""

    requests: dict[str, Quantity] = field(default_factory=dict)
    """What the scheduler keeps free for it: cpu, memory, ephemeral-storage."""
    limits: dict[str, Quantity] = field(default_factory=dict)
    """What it can have at most. The memory limits of router and shipper follow from their bounds: raise them only."""


class Variable(Part, frozen=True, kw_only=True):
    """An environment variable."""

    name: Annotated[str, Meta(pattern="^[-._a-zA-Z][-._a-zA-Z0-9]*$", max_length=256)]
    """Its name."""
    value: str = ""
    """Its value."""
    value_from: Free = field(default_factory=dict)
    """In the place of value: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef, as in any pod."""


class ContainerOverlay(Part, frozen=True, kw_only=True):
    """What is added to one container."""

    name: Container
    """bento (in every pod), router or shipper (in those of the primary only)."""
    env: Annotated[tuple[Variable, ...], Meta(max_length=64)] = ()
    """Environment variables, as in any pod. Those that the operator sets are refused by name."""
    env_from: Annotated[tuple[Free, ...], Meta(max_length=16)] = ()
    """ConfigMaps and Secrets whose keys become environment variables."""
    resources: Resources = Resources()
    """Requests and limits."""
    volume_mounts: Annotated[tuple[Mounted, ...], Meta(max_length=32)] = ()
    """Where volumes of podTemplate.spec.volumes are mounted; not where the operator's are."""


class OverlaySpec(Part, frozen=True, kw_only=True):
    """What is added to the pods' own specification."""

    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Annotated[tuple[Free, ...], Meta(max_length=32)] = ()
    """Taints of nodes that are accepted."""
    affinity: Free = field(default_factory=dict)
    """Replaces the affinity of the pods, as in any pod."""
    topology_spread_constraints: Annotated[tuple[Free, ...], Meta(max_length=8)] = ()
    """Replaces the operator's: spread over nodes and zones where that can be."""
    priority_class_name: str = ""
    """Replaces the operator's PriorityClass; for shadow and control it should stay below the primary's."""
    runtime_class_name: str = ""
    """The pods' RuntimeClass."""
    scheduler_name: str = ""
    """The scheduler that places the pods."""
    service_account_name: str = ""
    """The pods' ServiceAccount: for a store that takes the pod's role. Its API token is not mounted all the same."""
    image_pull_secrets: Annotated[tuple[Free, ...], Meta(max_length=8)] = ()
    """Secrets for the images' registry: [{name: …}]."""
    volumes: Annotated[tuple[Named, ...], Meta(max_length=32)] = ()
    """Further volumes, under other names than the operator's."""
    containers: Annotated[tuple[ContainerOverlay, ...], Meta(max_length=3)] = ()
    """What is added to containers, each by its name."""


class PodTemplate(Part, frozen=True, kw_only=True):
    """An overlay: lists are joined by name, maps by key, and a single value replaces the operator's."""

    metadata: OverlayMetadata = OverlayMetadata()
    """Labels and annotations of the pods."""
    spec: OverlaySpec = OverlaySpec()
    """Where pods run, their volumes, and what is added to their containers."""
