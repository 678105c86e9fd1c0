"""`ShadowDeployment` (understudy.dev/v1alpha1, `sd`): the one typed model of the resource.

`spec` says what should serve, `status` what does; only people and GitOps write `spec`. The CRD is made from these types
(`shadow.controller.crd`). `Serving` and `Platform` are what else the children follow from. Next module:
`shadow.controller.rules`, what types cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, field

from shadow.controller.overlay import PodTemplate
from shadow.controller.parts import (
    MOST_SHADOWS,
    Autoscaling,
    Control,
    Features,
    Gate,
    Mirror,
    Network,
    PairLog,
    Router,
    Shadow,
    Version,
)
from shadow.controller.told import told
from shadow.controller.wire import Part

GROUP: Final = "understudy.dev"
API_VERSION: Final = f"{GROUP}/v1alpha1"
KIND: Final = "ShadowDeployment"


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The part of an object's metadata that is read here; the rest is passed over."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    deletion_timestamp: str = ""


class Spec(Part, frozen=True, kw_only=True):
    """What should serve, and who watches it."""

    model: Version
    """The version that should serve. At first it serves at once; a later change becomes the shadow, while
    status.primary goes on serving."""
    replicas: Annotated[int, Meta(ge=0, le=1_000)] = 2
    """Pods of the primary; not used with autoscaling."""
    autoscaling: Autoscaling | None = None
    """A HorizontalPodAutoscaler for the primary."""
    pod_template: PodTemplate = PodTemplate()
    """Overlay for all pods: node selector, tolerations, environment, resources, labels. A change rolls the primary."""
    startup_seconds: Annotated[int, Meta(ge=10, le=3_600)] = 120
    """How long a bento may take until it is ready, its model loaded and its warm-up answered; then it is started anew.
    A change rolls the primary."""
    mirror: Mirror = Mirror()
    """Whose requests the shadow gets copies of, and how long it may take."""
    control: Control = Control()
    """The second deployment of the serving version: the noise floor."""
    shadows: Annotated[tuple[Shadow, ...], Meta(max_length=MOST_SHADOWS)] = ()
    """Further shadows, which are only observed."""
    gate: Gate = Gate()
    """When there is enough evidence for a verdict, and by which plan."""
    on_pass: Literal["Wait", "Split", "Promote"] = "Wait"  # noqa: S105
    """What follows a PASS: wait for a person, split the users for an A/B test, or promote."""
    router: Router
    """The router in the primary's pod: its secrets and bounds. A change rolls the primary."""
    pair_log: PairLog
    """Where the pairs go. A change rolls the primary, and is refused while a shadow, or a further one, is on trial."""
    features: Features
    """The feature store."""
    registry_url: Annotated[str, Meta(pattern="^(https?://[^\\s]+)?$", max_length=512)] = field(
        default="", name="registryURL"
    )
    """MLflow's address: GET /model tells the champion then."""
    network: Network = Network()
    """Who may reach whom."""
    paused: bool = False
    """Copies nothing while it is true; the primary serves, the shadow's pods stay."""
    deletion_policy: Literal["Orphan", "Delete"] = "Orphan"
    """What happens to production when this resource is deleted. Orphan: it goes on serving, and only shadow, control
    and mirroring go. Delete: all goes."""


Truth = Literal["True", "False", "Unknown"]


class Condition(Part, frozen=True, kw_only=True):
    """One aspect of the state, as in all of Kubernetes."""

    type: Literal["Ready", "ShadowReady", "FeaturesReady", "GatePassed", "Progressing"]
    """Ready: the primary serves. ShadowReady, FeaturesReady: shadow and control, the features are there. GatePassed:
    the verdict. Progressing: a change is under way."""
    status: Truth
    """Whether it is so."""
    reason: Annotated[str, Meta(pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=128)]
    """One word for programs."""
    message: Annotated[str, Meta(max_length=4_096)] = ""
    """A sentence for people: what is so, and what to do about it."""
    last_transition_time: str
    """When status changed last, RFC 3339."""
    observed_generation: Annotated[int, Meta(ge=0)] = 0
    """The generation of spec that this was seen for."""


class Verdict(Part, frozen=True, kw_only=True):
    """What the gate said last."""

    outcome: Literal["PASS", "HOLD", "INCONCLUSIVE", "ERROR"]
    """PASS: safe to expose to an A/B test, never: better."""
    message: Annotated[str, Meta(max_length=1_024)] = ""
    """The reasons in a line."""


class Routers(Part, frozen=True, kw_only=True):
    """How far the routers are."""

    connected: int = 0
    """Routers that have asked for their configuration lately."""
    current: int = 0
    """Of these, with the newest one in force."""
    message: Annotated[str, Meta(max_length=1_024)] = ""
    """What one of them refused, and why."""
    generation: Annotated[int, Meta(ge=0)] = 0
    """The number of the newest one: never given to two, so it is kept here before any router hears of it."""
    config: Annotated[str, Meta(max_length=64)] = ""
    """A hash of it."""


class Counted(Part, frozen=True, kw_only=True):
    """How many pairs of one router's life are in status.pairs."""

    incarnation: Annotated[str, Meta(max_length=64)]
    """That life: it begins with the time at which the router did."""
    pairs: Annotated[int, Meta(ge=0)]
    """As it counted them, all of them or those of this trial."""


class Trial(Part, frozen=True, kw_only=True):
    """The operator's memory of how status.pairs came about."""

    since: Annotated[str, Meta(max_length=32)]
    """Routers that began later count from 0, others from their first report: the beginning of the trial, UTC."""
    counted: Annotated[tuple[Counted, ...], Meta(max_length=4_096)] = ()
    """What is in the sum, by router's life."""


Phase = Literal["Serving", "Shadowing", "Split", "Promoting", "Baking", "Held", "Expired", "Paused"]


class Status(Part, frozen=True, kw_only=True):
    """What serves, as the operator saw it last."""

    observed_generation: Annotated[int, Meta(ge=0)] = 0
    """The generation of spec that this is about."""
    phase: Phase | None = None
    """Serving: no shadow. Shadowing: a shadow is on trial. Split: an A/B test. Promoting, Baking: a new version takes
    over. Held: the verdict was HOLD. Expired: not enough evidence in time. Paused: nothing is copied."""
    primary: Version | None = None
    """The version that serves."""
    shadow: Version | None = None
    """The version on trial."""
    percent: str = ""
    """Percent of the users whose requests are copied to the shadow."""
    pairs: Annotated[int, Meta(ge=0)] = 0
    """Pairs of the shadow on trial, both answers there, that routers have told of since the trial began; some 50 s
    old. 0 when no shadow is. Never too many; a router that was killed takes along what it counted in its last 20 s.
    What is judged is the pair log, not this."""
    trial: Trial | None = None
    """How pairs came about."""
    verdict: Verdict | None = None
    """What the gate said last."""
    routers: Routers = Routers()
    """How far the routers are."""
    conditions: tuple[Condition, ...] = ()
    """Ready, ShadowReady, FeaturesReady, GatePassed, Progressing."""


class ShadowDeployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A recommender in production, and the version that is on trial for its part."""

    api_version: Literal["understudy.dev/v1alpha1"]
    kind: Literal["ShadowDeployment"]
    metadata: Metadata
    spec: Spec
    status: Status = Status()


ArmRole = Literal["shadow", "control"]


@dataclass(frozen=True)
class ServingArm:
    """An arm that gets copies: the shadow, the control, or a further shadow."""

    name: str
    role: ArmRole
    version: Version


@dataclass(frozen=True)
class Serving:
    """Who plays now: computed from spec and status by `reconcile`."""

    primary: Version
    arms: tuple[ServingArm, ...] = ()


@dataclass(frozen=True)
class Platform:
    """What is the same for all resources of one operator (its settings, which the chart sets)."""

    router_image: str
    """The image with `understudy router` and `understudy shipper`, by an exact tag or digest."""
    control_url: str = ""
    """http://host:port[/path] of the operator's configuration server; the router of a resource asks
    CONTROL_URL/NAMESPACE/NAME/config. "": no operator, the router reads its ConfigMap (`understudy render`)."""
    control_labels: tuple[tuple[str, str], ...] = (("app.kubernetes.io/component", "operator"),)
    """Labels of the operator's pods, for the NetworkPolicy."""
    control_namespace: str = ""
    """The operator's namespace; "": the resource's own."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """Of all images."""
    priority_class: str = ""
    """The primary's PriorityClass; "": the cluster's default."""
    shadow_priority_class: str = ""
    """Of shadow and control, to be lower than the primary's."""


class ResourceError(ValueError):
    """A resource that cannot be; the text names the field and the remedy."""


def convert(document: Any) -> ShadowDeployment:
    """The resource in a decoded JSON or YAML document, types checked; `ResourceError` names the field."""
    try:
        return msgspec.convert(document, ShadowDeployment)
    except msgspec.ValidationError as error:
        raise ResourceError(told(str(error), ShadowDeployment)) from error
