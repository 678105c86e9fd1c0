"""The parts of `spec` of a ShadowDeployment, but for `podTemplate`.

What shapes the primary's pod stands in `router`, `pairLog`, `features`, `network.registryURL`… and `podTemplate`: a
change there rolls it. `mirror`, `control`, `shadows`, `gate` never touch it. Next module: `shadow.controller.resource`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from shadow.controller.overlay import PodTemplate
from shadow.controller.wire import Duration, Free, ObjectName, Part, Percent, Port, Size

MOST_SHADOWS = 8


class Version(Part, frozen=True, kw_only=True):
    """One model version, and the image that serves it."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    """The model's name, as the registry and the answers have it."""
    bento: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]*:[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
    """The bento's exact tag, name:version. The pair log calls the version so."""
    image: Annotated[str, Meta(min_length=3, max_length=512, pattern="^[^\\s]+$")]
    """The bento's image, by an exact tag or a digest; never :latest."""


class Fraction(Part, frozen=True, kw_only=True):
    """A part of the users finer than a percent."""

    numerator: Annotated[int, Meta(ge=0, le=1_000_000)]
    """Of so many users."""
    denominator: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    """Out of so many."""


class Route(Part, frozen=True, kw_only=True):
    """Requests that are copied."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """What changes something at the bento is copied only if it is named here."""
    path: Annotated[str, Meta(pattern="^/[!-~]*$", max_length=512)]
    """Compared exactly with the request's path, without the query. Never /events, which tells what users did."""


class Mirror(Part, frozen=True, kw_only=True):
    """Whose requests the shadow gets copies of. A change is in force within a second and restarts nothing."""

    percent: Percent | None = None
    """Percent of the users, by a keyed hash: raising it keeps those who were in. Neither this nor fraction: all."""
    fraction: Fraction | None = None
    """In the place of percent, for parts finer than that; resolution a millionth."""
    routes: Annotated[tuple[Route, ...], Meta(min_length=1, max_length=16)] = (Route(path="/recommend"),)
    """What is copied."""
    timeout_milliseconds: Annotated[int, Meta(ge=1, le=600_000)] = 2_000
    """A copy that is not answered by then is a failure of the arm."""
    queue_seconds: Annotated[int, Meta(ge=1, le=600)] = 5
    """A copy that has waited longer is dropped: a slow arm is asked about now, not about long ago."""
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 16
    """Copies under way at once, per router and arm; at most router.concurrency counts."""
    replicas: Annotated[int, Meta(ge=1, le=100)] = 1
    """Pods of the shadow, of the control and of each further shadow."""
    pod_template: PodTemplate = PodTemplate()
    """Overlay for the pods of shadow and control alone, over spec.podTemplate: they must stay alike, for the shadow's
    latency is judged against the control's."""


class Control(Part, frozen=True, kw_only=True):
    """The control: a second deployment of the version that serves, alike the shadow. It tells how much two answers of
    one and the same version differ."""

    percent: Percent | None = None
    """Percent of the users. Not given: as many as the shadow gets. 0: no control is deployed, and no
    verdict can be had."""


class Shadow(Part, frozen=True, kw_only=True):
    """A further shadow that is only observed."""

    name: Annotated[str, Meta(pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=20)]
    """Its name in the pair log and, behind RESOURCE--, in the names of its objects; not primary, shadow, control…"""
    model: Version
    """What it runs."""
    percent: Percent | None = None
    """Percent of the users. Not given: as many as the shadow gets."""


class Plan(Part, frozen=True, kw_only=True):
    """Where the plan of the gate stands: metrics, margins and their reasons, written before the data came."""

    config_map: ObjectName
    """A ConfigMap of the same namespace."""
    key: Annotated[str, Meta(pattern="^[-._a-zA-Z0-9]+$", max_length=253)] = "plan.yaml"
    """Its key."""


class Gate(Part, frozen=True, kw_only=True):
    """When there is enough evidence for a verdict."""

    plan: Plan | None = None
    """The plan; without one the verdict is nobody's but yours, and onPass must be Wait."""
    min_pairs: Annotated[int, Meta(ge=1)] = 1_000
    """Pairs of the shadow before a first look."""
    min_duration: Duration = "24h"
    """Time in the shadow before a first look."""
    max_duration: Duration = "336h"
    """Time in the shadow after which the trial is over, decided or not."""
    schedule: Duration = "24h"
    """Between two looks."""


class Autoscaling(Part, frozen=True, kw_only=True):
    """A HorizontalPodAutoscaler for the primary; it owns the number of replicas then."""

    min_replicas: Annotated[int, Meta(ge=1, le=1_000)] = 2
    """Fewest pods."""
    max_replicas: Annotated[int, Meta(ge=1, le=1_000)]
    """Most pods."""
    cpu_percent: Annotated[int, Meta(ge=1, le=400)] = 70
    """CPU of bento and router, each in percent of its request, that is aimed at; the busier one decides."""
    scale_down_seconds: Annotated[int, Meta(ge=0, le=3_600)] = 300
    """How long the load must have been lower before pods go, one a minute."""


class Router(Part, frozen=True, kw_only=True):
    """The router in the primary's pod. A change here rolls the primary, for the pod's memory follows from it."""

    existing_secret: ObjectName
    """A Secret with the keys unit-key (turns user ids into units; at least 16 bytes; a new one for a new pair log),
    admin-token (for the router's loopback port; needed to drain) and, where the operator asks for it, control-token."""
    max_arms: Annotated[int, Meta(ge=1, le=10)] = 4
    """Room for so many arms: shadow, control and further shadows. Memory is kept for all of them, so that none needs
    new pods of the primary when it comes."""
    queue_size: Size = "32Mi"
    """Copies that may wait for one arm; one that does not fit is dropped and counted. At most 4Gi."""
    answer_size: Size = "256Ki"
    """Of an answer's body that is kept in the pair log. At most 16Mi."""
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 16
    """Most copies under way at once for one arm."""
    connections: Annotated[int, Meta(ge=16, le=100_000)] = 2_000
    """Clients' connections at once, per pod."""
    timeout_milliseconds: Annotated[int, Meta(ge=1, le=600_000)] = 5_000
    """A request that the primary has not answered by then gets 504."""
    deregister_seconds: Annotated[int, Meta(ge=0, le=120)] = 5
    """How long a pod that ends still takes new connections: until nobody is sent there any more."""
    drain_seconds: Annotated[int, Meta(ge=1, le=120)] = 10
    """How long requests and copies under way may take after that."""


class PairLog(Part, frozen=True, kw_only=True):
    """Where the pairs go. Cannot change while a shadow is on trial: its pairs would lie in two logs."""

    destination: Annotated[str, Meta(pattern="^(s3|gs|az)://[^\\s/][^\\s]*$", max_length=1_024)]
    """s3://bucket/prefix; gs://… and az://… are handed to the client library untested. A log is found by the
    resource's name below it, not by its namespace: give two resources of one name two prefixes."""
    endpoint: Annotated[str, Meta(pattern="^(https?://[^\\s]+)?$", max_length=512)] = ""
    """URL of a store that speaks S3 and is not Amazon's."""
    region: Annotated[str, Meta(pattern="^[-a-z0-9]*$", max_length=63)] = ""
    """The bucket's region."""
    existing_secret: Annotated[str, Meta(pattern="^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = ""
    """A Secret whose keys become the shipper's environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, say. Needs no
    more than to put. Not given: the role of the pod's ServiceAccount."""
    encryption: Literal["none", "AES256", "aws:kms", "aws:kms:dsse"] = "none"
    """Server-side encryption to ask S3 for; none: what the bucket does by itself."""
    kms_key: Annotated[str, Meta(max_length=512)] = ""
    """Id or ARN of the KMS key, for an encryption by KMS."""
    segment_size: Size = "64Mi"
    """Compressed bytes at which a segment is closed and goes up."""
    segment_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    """Seconds after which a segment is closed, whatever its size."""
    spool_size: Size = "2Gi"
    """Most that waits on the node while the store is away; at least two segments."""
    when_full: Literal["DropOldest", "StopMirroring"] = "DropOldest"
    """What gives way when the spool is full: the oldest pairs, or the mirroring. Never the primary."""
    drain_seconds: Annotated[int, Meta(ge=1, le=300)] = 30
    """How long the last uploads of a pod that ends may take."""


class Features(Part, frozen=True, kw_only=True):
    """The feature store: one Redis for all versions."""

    existing_secret: ObjectName
    """A Secret with the keys writer-url (for the primary, which takes events) and reader-url (for shadow and control:
    an ACL user that may only read). Each is a whole redis:// URL with user and password."""
    deadline_milliseconds: Annotated[int, Meta(ge=1, le=10_000)] = 5
    """How long a request waits for features before it falls back."""


class LabelSelector(Part, frozen=True, kw_only=True):
    """Objects by their labels."""

    match_labels: dict[str, str] = field(default_factory=dict)
    """Labels they have."""
    match_expressions: Annotated[tuple[Free, ...], Meta(max_length=16)] = ()
    """As in any selector: key, operator, values."""


class IpBlock(Part, frozen=True, kw_only=True):
    """Addresses."""

    cidr: Annotated[str, Meta(max_length=64)]
    """10.0.0.0/8, say."""
    except_: Annotated[tuple[str, ...], Meta(max_length=16)] = field(default=(), name="except")
    """Ranges of it that are not meant."""


class Peer(Part, frozen=True, kw_only=True):
    """Who a pod may talk to, as in a NetworkPolicy: pods, or addresses."""

    namespace_selector: LabelSelector | None = None
    """Namespaces; {} is all of them. Not given: this one."""
    pod_selector: LabelSelector | None = None
    """Pods there; not given: all."""
    ip_block: IpBlock | None = None
    """Addresses, in the place of both."""


class Way(Part, frozen=True, kw_only=True):
    """One allowed way out."""

    to: Annotated[tuple[Peer, ...], Meta(max_length=16)] = ()
    """Where to; not given: to anybody, by that port alone."""
    port: Port
    """By this TCP port."""


class Network(Part, frozen=True, kw_only=True):
    """NetworkPolicies: who may reach whom. All else is refused, where the cluster enforces them."""

    policies: bool = True
    """Whether there are NetworkPolicies at all."""
    clients: Annotated[tuple[Peer, ...], Meta(max_length=16)] = ()
    """Who may ask the Service; not given: everybody."""
    monitoring: Annotated[tuple[Peer, ...], Meta(max_length=16)] = ()
    """Who may read metrics of router, shipper and bentos; not given: nobody."""
    dns: bool = True
    """Whether pods may ask the cluster's DNS: kube-dns of kube-system, port 53."""
    redis: Way = Way(port=6_379)
    """The way to the feature store."""
    store: Way = Way(port=443)
    """The way to the object store of the pair log."""
    registry: Way | None = None
    """The way to MLflow, if registryURL is set."""
    otlp: Way | None = None
    """The way to a collector of traces, if bentos are set up for one."""
