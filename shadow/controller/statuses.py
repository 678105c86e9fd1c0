"""Conditions and phase: pure. Next module: `shadow.controller.notes`, the Events that follow from their change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shadow.controller.features import features_ready
from shadow.controller.names import PRIMARY, SHADOW, TAKE_BACK, arm_name
from shadow.controller.observed import Observed
from shadow.controller.resource import Condition, Routers, Serving, ShadowDeployment, Status, Truth
from shadow.controller.router_config import mirrored
from shadow.controller.trial import counted
from shadow.controller.wire import Manifest

LONGEST_MESSAGE: Final = 1_024
TRUTH: Final[dict[bool, Truth]] = {True: "True", False: "False"}


@dataclass(frozen=True)
class _Said:
    """A condition without its times."""

    status: Truth
    reason: str
    message: str


def status_of(
    resource: ShadowDeployment,
    serving: Serving,
    seen: Observed,
    wanted: tuple[Manifest, ...],
    routers: Routers,
    now: datetime,
) -> Status:
    """The status as it is to be written."""
    shadow = next((arm.version for arm in serving.arms if arm.name == SHADOW), None)
    deployments = {child["metadata"]["name"]: child for child in seen.children if child["kind"] == "Deployment"}
    said = {
        "Ready": _ready(resource, deployments),
        "ShadowReady": _shadow_ready(resource, serving, deployments),
        "FeaturesReady": _Said(*features_ready(serving, seen.routers)),
        "Progressing": _progressing(resource, seen, wanted, deployments, routers),
    }
    pairs, trial = counted(resource.status, shadow, seen.routers, now)
    return Status(
        observed_generation=resource.metadata.generation,
        phase="Paused" if resource.spec.paused else "Shadowing" if serving.arms else "Serving",
        primary=serving.primary,
        shadow=shadow,
        percent=f"{mirrored(resource.spec.mirror) * 100:.6g}" if serving.arms else "",
        pairs=pairs,
        trial=trial,
        verdict=resource.status.verdict,
        routers=routers,
        conditions=tuple(_dated(resource, kind, each, now) for kind, each in said.items()),
    )


def _dated(resource: ShadowDeployment, kind: Any, said: _Said, now: datetime) -> Condition:
    """The condition; its time is that of the last flip of its status."""
    before = next((each for each in resource.status.conditions if each.type == kind), None)
    stays = before is not None and before.status == said.status
    since = before.last_transition_time if before is not None and stays else now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Condition(
        type=kind,
        status=said.status,
        reason=said.reason,
        message=said.message[:LONGEST_MESSAGE],
        last_transition_time=since,
        observed_generation=resource.metadata.generation,
    )


def _ready(resource: ShadowDeployment, deployments: Mapping[str, Manifest]) -> _Said:
    found = deployments.get(arm_name(resource, PRIMARY))
    if found is None:
        return _Said("False", "Missing", "There is no Deployment of the primary yet.")
    status, wanted = found.get("status", {}), found["spec"].get("replicas", 1)
    available = status.get("availableReplicas", 0)
    if available:
        return _Said("True", "Serving", f"{available} of {wanted} pods serve.")
    if wanted == 0:
        return _Said("False", "ScaledToZero", "The primary has no pods: raise spec.replicas, or scale it up.")
    return _Said("False", "NoPodReady", _why(found) or f"None of {wanted} pods is ready yet.")


def _shadow_ready(resource: ShadowDeployment, serving: Serving, deployments: Mapping[str, Manifest]) -> _Said:
    if not serving.arms:
        return _Said("False", "NoShadow", "No version is on trial: change spec.model, or name spec.shadows.")
    for arm in serving.arms:
        found = deployments.get(arm_name(resource, arm.name))
        if found is None or not found.get("status", {}).get("availableReplicas", 0):
            why = _why(found) if found is not None else ""
            return _Said(
                "False", "NotReady", f"{arm.name} ({arm.version.bento}) has no pod that is ready. {why}".strip()
            )
    return _Said("True", "Playing", f"{', '.join(arm.name for arm in serving.arms)}: all have pods that are ready.")


def _why(deployment: Manifest) -> str:
    """What the Deployment's controller says is wrong."""
    for condition in deployment.get("status", {}).get("conditions") or []:
        if condition.get("type") in ("ReplicaFailure", "Progressing"):
            failed = condition.get("status") == TRUTH[condition["type"] == "ReplicaFailure"]
            if failed:
                return str(condition.get("message", ""))
    return ""


def _progressing(
    resource: ShadowDeployment,
    seen: Observed,
    wanted: tuple[Manifest, ...],
    deployments: Mapping[str, Manifest],
    routers: Routers,
) -> _Said:
    if resource.metadata.deletion_timestamp:
        goes = (
            "All of it goes."
            if resource.spec.deletion_policy == "Delete"
            else "Shadow and control go, production stays."
        )
        return _Said("True", "Deleting", goes)
    if seen.trouble:
        return _Said("False", "ApplyFailed", seen.trouble)
    if text := _kept(resource, seen):
        return _Said("False", "KeptByHand", text)
    if rolling := [name for name in _names(wanted) if not _is_rolled_out(deployments.get(name))]:
        return _Said("True", "RollingOut", f"{', '.join(rolling)}: not all pods are new and ready.")
    if routers.current < routers.connected:
        behind = f"{routers.connected - routers.current} of {routers.connected} routers"
        return _Said(
            "True", "RoutersBehind", f"{behind} do not have the newest configuration. {routers.message}".strip()
        )
    scaled = [f"{each.manager} sets the replicas of {each.name}" for each in seen.kept]
    return _Said("False", "Settled", f"All is as spec says{', but ' if scaled else ''}{', '.join(scaled)}.")


def _kept(resource: ShadowDeployment, seen: Observed) -> str:
    """What was changed by hand, and how to give it back; empty when nothing was."""
    kept = [each for each in seen.kept if not each.expected]
    if not kept:
        return ""
    first, more = kept[0], len({(each.kind, each.name, each.field) for each in kept}) - 1
    target = f"{first.kind.lower()} {first.name}"
    return (
        f"{first.kind} {first.name}: {first.manager} keeps {first.field}{f' and {more} more' if more else ''}, "
        f"and the operator leaves it so. To give it back: kubectl -n {resource.metadata.namespace} annotate {target} "
        f"{TAKE_BACK}=yes"
    )


def _names(wanted: tuple[Manifest, ...]) -> list[str]:
    return [child["metadata"]["name"] for child in wanted if child["kind"] == "Deployment"]


def _is_rolled_out(found: Manifest | None) -> bool:
    """As `kubectl rollout status` has it."""
    if found is None:
        return False
    status, replicas = found.get("status", {}), found["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) >= replicas
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and status.get("availableReplicas", 0) >= replicas
    )
