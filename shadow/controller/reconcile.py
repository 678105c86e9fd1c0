"""What should be, from what is said and what is seen: pure. The same world gives the same outcome.

`spec` says what should serve and `status.primary` what does. A new `spec.model` becomes the shadow; nothing here moves
`status.primary`, and so nothing about a shadow can restart production. Next module: `shadow.controller.statuses`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Final

import msgspec

from shadow.controller.children import children
from shadow.controller.names import BENTO_ANNOTATION, COMPONENT_LABEL, CONTROL, PRIMARY, SHADOW, arm_name
from shadow.controller.notes import notes_of
from shadow.controller.objects import Ref, own_fields, ref_of
from shadow.controller.observed import Observed, Outcome
from shadow.controller.parts import Version
from shadow.controller.resource import Platform, Routers, Serving, ServingArm, ShadowDeployment
from shadow.controller.router_config import router_config
from shadow.controller.statuses import status_of
from shadow.controller.wire import Manifest
from shadow.router.config import RouterConfig

FAREWELL: Final = timedelta(seconds=15)
"""How long a resource that is deleted waits for its routers to hear that they copy no more."""
PRODUCTION: Final = ("Deployment", "Service")
"""Of the primary: what serves users. Never deleted but by deletionPolicy Delete."""


def reconcile(resource: ShadowDeployment, seen: Observed, now: datetime, platform: Platform) -> Outcome:
    """What is to be done about `resource`; all that it depends on is in the arguments. `ResourceError` for one that no
    router would take."""
    leaving = bool(resource.metadata.deletion_timestamp)
    serving = serving_of(resource, seen.children)
    config = router_config(resource, serving)
    routers = _routers(resource, config, seen, now)
    wanted = () if leaving and _all_goes(resource) else children(resource, serving, platform)
    delete = _orphans(resource, seen.children, wanted)
    status = status_of(resource, serving, seen, wanted, routers, now)
    return Outcome(
        status=status,
        config=config,
        apply=wanted,
        delete=delete,
        notes=notes_of(resource.status, status),
        release=leaving and _is_done(resource, seen, routers, delete, now),
    )


def serving_of(resource: ShadowDeployment, found: tuple[Manifest, ...]) -> Serving:
    """Who plays. While the resource is being deleted, the primary alone."""
    spec = resource.spec
    primary = resource.status.primary or _running(resource, found) or spec.model
    if resource.metadata.deletion_timestamp:
        return Serving(primary)
    trial = () if same(spec.model, primary) else (ServingArm(SHADOW, "shadow", spec.model),)
    further = tuple(ServingArm(shadow.name, "shadow", shadow.model) for shadow in spec.shadows)
    control: tuple[ServingArm, ...] = ()
    if (trial or further) and spec.control.percent != 0:
        control = (ServingArm(CONTROL, "control", primary),)
    return Serving(primary, (*trial, *control, *further))


def same(one: Version, other: Version) -> bool:
    """Whether they run alike; the model's name is a label."""
    return (one.bento, one.image) == (other.bento, other.image)


def _running(resource: ShadowDeployment, found: tuple[Manifest, ...]) -> Version | None:
    """The version of a primary that a former resource left behind (Orphan), or whose status was lost.

    It goes on serving: a new resource is no reason to put another version before the users untried.
    """
    for child in found:
        if ref_of(child).key == ("Deployment", arm_name(resource, PRIMARY)) and own_fields(child):
            template = child["spec"]["template"]
            bento = template["metadata"].get("annotations", {}).get(BENTO_ANNOTATION, "")
            images = [each["image"] for each in template["spec"]["containers"] if each["name"] == "bento"]
            if bento and images:
                return Version(name=bento.partition(":")[0], bento=bento, image=images[0])
    return None


def _routers(resource: ShadowDeployment, config: RouterConfig, seen: Observed, now: datetime) -> Routers:
    """How far the routers are, and the number of what they should have."""
    known = resource.status.routers
    digest = hashlib.sha256(msgspec.json.encode(config)).hexdigest()[:16]
    generation = known.generation
    if digest != known.config or not generation:
        # By the clock, so that a status that was lost gives no number again; and always above the last one.
        generation = max(known.generation + 1, int(now.timestamp() * 1000))
    refusals = sorted(
        f"{name}: {router.error}" for name, router in seen.routers.items() if router.error and router.refused
    )
    return Routers(
        connected=len(seen.routers),
        current=sum(router.accepted == generation for router in seen.routers.values()),
        message=refusals[0][:1024] if refusals else "",
        generation=generation,
        config=digest,
    )


def _orphans(resource: ShadowDeployment, found: tuple[Manifest, ...], wanted: tuple[Manifest, ...]) -> tuple[Ref, ...]:
    """Children of ours that are wanted no more, and are not going already."""
    keys = {ref_of(child).key for child in wanted}
    return tuple(
        ref_of(child)
        for child in found
        if ref_of(child).key not in keys
        and "deletionTimestamp" not in child["metadata"]
        and own_fields(child)
        and (_all_goes(resource) or not is_production(child))
    )


def is_production(child: Manifest) -> bool:
    """Whether users are served by it."""
    return child["kind"] in PRODUCTION and child["metadata"].get("labels", {}).get(COMPONENT_LABEL) == PRIMARY


def _all_goes(resource: ShadowDeployment) -> bool:
    return bool(resource.metadata.deletion_timestamp) and resource.spec.deletion_policy == "Delete"


def _is_done(
    resource: ShadowDeployment, seen: Observed, routers: Routers, delete: tuple[Ref, ...], now: datetime
) -> bool:
    """Whether the resource may vanish: what goes is gone, what stays is nobody's, and the routers know."""
    if delete or any(_is_owned(child, resource) for child in seen.children if not _all_goes(resource)):
        return False
    since = datetime.fromisoformat(resource.metadata.deletion_timestamp)
    return _all_goes(resource) or routers.current == routers.connected or now - since > FAREWELL


def _is_owned(child: Manifest, resource: ShadowDeployment) -> bool:
    """Whether production would be collected with the resource."""
    owners = child["metadata"].get("ownerReferences") or []
    return is_production(child) and any(owner.get("uid") == resource.metadata.uid for owner in owners)
