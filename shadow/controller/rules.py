"""What the types of the resource cannot say, once in CEL for the API server and once in Python for `understudy render`.

Both say the same sentence, with the remedy. A test gives every rule's cases to a real API server and to `check`. Next
module: `shadow.controller.crd`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from shadow.controller.names import FURTHER, LONGEST_NAME, RESERVED, RESERVED_ARMS
from shadow.controller.overlay import SET_BY_OPERATOR, VOLUMES, ContainerOverlay, OverlayMetadata, OverlaySpec
from shadow.controller.parts import Autoscaling, Fraction, Gate, Mirror, PairLog, Peer, Route, Router, Shadow, Version
from shadow.controller.resource import ShadowDeployment, Spec
from shadow.controller.wire import seconds_of, size_of


@dataclass(frozen=True)
class Rule:
    """One rule about each value of type `part`."""

    part: type[msgspec.Struct]
    cel: str
    message: str
    broken: Callable[[Any], bool] | None
    """Whether a value breaks it; None: a rule about changes, which the API server alone sees."""


_IMAGE: Final = re.compile(r"(^[^@]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})\Z")
_NAME: Final = re.compile(rf"[a-z]([-a-z0-9]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?\Z")


_UNPLAIN: Final = "[?#%]|//|/[.][.]?(/|$)"
"""Of a path: what makes it another one than it looks, or no path."""
_PLACE: Final = "^/.*[^/]$"
_ENDS: Final = tuple(f"-{each}" for each in RESERVED_ARMS)
_PATHS: Final = tuple(VOLUMES.values())


def _exact(image: str) -> bool:
    return bool(_IMAGE.search(image)) and not image.endswith(":latest")


def _is_place(path: Any) -> bool:
    return isinstance(path, str) and bool(re.search(_PLACE, path)) and not re.search(_UNPLAIN, path)


def _ours(name: str) -> bool:
    return name.startswith(RESERVED)


def _none_of(key: str) -> str:
    return "(" + " && ".join(f"!{key}.startsWith('{prefix}')" for prefix in RESERVED) + ")"


def _listed(names: tuple[str, ...]) -> str:
    return f"[{', '.join(repr(name) for name in names)}]"


def _environment(name: str, variables: tuple[str, ...]) -> Rule:
    """What an overlay of the container `name` may not set."""
    return Rule(
        ContainerOverlay,
        f"self.name != '{name}' || !has(self.env) || self.env.all(one, !(one.name in {_listed(variables)}))",
        f"env of {name} may set none of {', '.join(variables)}, which follow from other fields of spec: remove it",
        lambda overlay: overlay.name == name and any(one.name in variables for one in overlay.env),
    )


RULES: Final = (
    Rule(
        ShadowDeployment,
        f"self.metadata.name.matches('^[a-z]([-a-z0-9]{{0,{LONGEST_NAME - 2}}}[a-z0-9])?$')",
        f"metadata.name has at most {LONGEST_NAME} characters, begins with a letter and has no dots, for Services are "
        "named after it: choose another name",
        lambda sd: not _NAME.match(sd.metadata.name),
    ),
    Rule(
        ShadowDeployment,
        f"!self.metadata.name.contains('{FURTHER}') && !self.metadata.name.matches('-({'|'.join(RESERVED_ARMS)})$')",
        f"metadata.name has no {FURTHER} in it and ends in none of {', '.join(_ENDS)}, as names of other resources' "
        "objects do: choose another name",
        lambda sd: FURTHER in sd.metadata.name or sd.metadata.name.endswith(_ENDS),
    ),
    Rule(
        ShadowDeployment,
        # status has a percent as long as any arm plays: a further shadow, too.
        "!has(oldSelf.status) || !(has(oldSelf.status.shadow) || has(oldSelf.status.percent)) || "
        "self.spec.pairLog == oldSelf.spec.pairLog",
        "spec.pairLog cannot change while a shadow is on trial, for its pairs would lie in two logs: end the trial "
        "first (set spec.model to what status.primary serves, and take spec.shadows away)",
        None,
    ),
    Rule(
        Spec,
        "self.onPass == 'Wait' || has(self.gate.plan)",
        "onPass Split and Promote need a plan: name its ConfigMap in spec.gate.plan, or set spec.onPass to Wait",
        lambda spec: (
            spec.on_pass != "Wait"  # noqa: S105
            and spec.gate.plan is None
        ),
    ),
    Rule(
        Spec,
        "!has(self.shadows) || self.shadows.all(a, self.shadows.exists_one(b, b.name == a.name))",
        "two of spec.shadows have the same name: give each its own",
        lambda spec: len({shadow.name for shadow in spec.shadows}) < len(spec.shadows),
    ),
    Rule(
        Spec,
        "1 + (has(self.control.percent) && self.control.percent == 0 ? 0 : 1) + "
        "(has(self.shadows) ? self.shadows.size() : 0) <= self.router.maxArms",
        "there is no room for shadow, control (unless its percent is 0) and all of spec.shadows: remove some, or raise "
        "spec.router.maxArms (which rolls the primary)",
        lambda spec: 1 + (spec.control.percent != 0) + len(spec.shadows) > spec.router.max_arms,
    ),
    Rule(
        Shadow,
        f"!(self.name in {_listed(RESERVED_ARMS)}) && !self.name.endsWith('-operator')",
        f"name is none of {', '.join(RESERVED_ARMS)}, which have their own meaning, and does not end in -operator: "
        "choose another",
        lambda shadow: shadow.name in RESERVED_ARMS or shadow.name.endswith("-operator"),
    ),
    Rule(
        Version,
        "!self.image.endsWith(':latest') && "
        "self.image.matches('(^[^@]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})$')",
        "image needs an exact tag (not latest) or a digest, for two pods must never run two versions: "
        "give name:tag or name@sha256:…",
        lambda version: not _exact(version.image),
    ),
    Rule(
        Version,
        "!self.bento.endsWith(':latest')",
        "bento needs an exact version (not latest): give name:version as `understudy bento build` prints it",
        lambda version: version.bento.endswith(":latest"),
    ),
    Rule(
        Mirror,
        "!(has(self.percent) && has(self.fraction))",
        "percent and fraction are two ways to say the same: give one of them",
        lambda mirror: mirror.percent is not None and mirror.fraction is not None,
    ),
    Rule(
        Fraction,
        "self.numerator <= self.denominator",
        "numerator is greater than denominator: a fraction is at most 1",
        lambda fraction: fraction.numerator > fraction.denominator,
    ),
    Rule(
        Route,
        "self.path != '/events' && !self.path.startsWith('/events/') && !self.path.startsWith('/events?')",
        "/events tells what users did and is never copied, for a copy would count it twice: remove this route",
        lambda route: bool(re.match(r"/events([/?]|\Z)", route.path)),
    ),
    Rule(
        Route,
        f"!self.path.matches('{_UNPLAIN}')",
        "path is compared exactly with that of a request, without its query: give it without ?, #, %, //, /./ and /../",
        lambda route: bool(re.search(_UNPLAIN, route.path)),
    ),
    Rule(
        Router,
        "quantity(self.queueSize).compareTo(quantity('4Gi')) <= 0 && "
        "quantity(self.answerSize).compareTo(quantity('16Mi')) <= 0",
        "queueSize is at most 4Gi and answerSize at most 16Mi, for routers take no more: lower them",
        lambda router: size_of(router.queue_size) > 4 << 30 or size_of(router.answer_size) > 16 << 20,
    ),
    Rule(
        Gate,
        "duration(self.minDuration) <= duration(self.maxDuration)",
        "minDuration is longer than maxDuration: the trial would end before its first look; shorten it",
        lambda gate: seconds_of(gate.min_duration) > seconds_of(gate.max_duration),
    ),
    Rule(
        Autoscaling,
        "self.minReplicas <= self.maxReplicas",
        "minReplicas is greater than maxReplicas: lower it, or raise maxReplicas",
        lambda scaling: scaling.min_replicas > scaling.max_replicas,
    ),
    Rule(
        PairLog,
        "quantity(self.segmentSize).add(quantity(self.segmentSize)).compareTo(quantity(self.spoolSize)) <= 0",
        "spoolSize holds less than two segments of segmentSize: raise it, or lower segmentSize",
        lambda log: 2 * size_of(log.segment_size) > size_of(log.spool_size),
    ),
    Rule(
        PairLog,
        "self.destination.startsWith('s3://') || "
        "((!has(self.endpoint) || self.endpoint == '') && self.encryption == 'none')",
        "endpoint and encryption are for s3:// alone: remove them, or give an s3:// destination",
        lambda log: not log.destination.startswith("s3://") and bool(log.endpoint or log.encryption != "none"),
    ),
    Rule(
        PairLog,
        "!has(self.kmsKey) || self.kmsKey == '' || self.encryption.startsWith('aws:kms')",
        "kmsKey is for an encryption by KMS: set encryption to aws:kms, or remove kmsKey",
        lambda log: bool(log.kms_key) and "kms" not in log.encryption,
    ),
    Rule(
        Peer,
        "has(self.ipBlock) != (has(self.namespaceSelector) || has(self.podSelector))",
        "a peer is either an ipBlock, or pods by namespaceSelector and podSelector: give one of the two",
        lambda peer: (
            (peer.ip_block is not None) == (peer.namespace_selector is not None or peer.pod_selector is not None)
        ),
    ),
    Rule(
        OverlayMetadata,
        " && ".join(
            f"(!has(self.{name}) || self.{name}.all(key, {_none_of('key')}))" for name in ("labels", "annotations")
        ),
        f"labels and annotations that begin with {' or '.join(RESERVED)} are the operator's: remove them",
        lambda metadata: any(map(_ours, (*metadata.labels, *metadata.annotations))),
    ),
    Rule(
        ContainerOverlay,
        f"!has(self.volumeMounts) || self.volumeMounts.all(one, !(one.mountPath in {_listed(_PATHS)}) && "
        f"one.mountPath.matches('{_PLACE}') && !one.mountPath.matches('{_UNPLAIN}'))",
        f"volumeMounts need a name and a mountPath that is none of {', '.join(_PATHS)}, where the operator's are, that "
        "begins with / and has none at its end, nor any of //, /./, /../, ?, #, %: choose another mountPath",
        lambda overlay: any(
            not _is_place(one.get("mountPath")) or one["mountPath"] in _PATHS or not one.get("name")
            for one in overlay.volume_mounts
        ),
    ),
    Rule(
        OverlaySpec,
        f"!has(self.volumes) || self.volumes.all(one, !(one.name in {_listed(tuple(VOLUMES))}))",
        f"volumes need a name that is none of {', '.join(VOLUMES)}, which the operator's are: choose another name",
        lambda spec: any(one.get("name") in (None, *VOLUMES) for one in spec.volumes),
    ),
    Rule(
        Mirror,
        "!has(self.podTemplate.spec.containers) || self.podTemplate.spec.containers.all(one, one.name == 'bento')",
        "podTemplate.spec.containers of mirror has bento alone, for an arm's pod has neither router nor shipper: move "
        "those to spec.podTemplate",
        lambda mirror: any(one.name != "bento" for one in mirror.pod_template.spec.containers),
    ),
    *(_environment(container, variables) for container, variables in SET_BY_OPERATOR.items()),
)
