"""A namespace in memory for the pure part: applies and deletes what is said, and lets pods come."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shadow.controller.names import MANAGER
from shadow.controller.objects import ref_of
from shadow.controller.observed import Heard, Note, Observed, Outcome
from shadow.controller.reconcile import reconcile
from shadow.controller.resource import ShadowDeployment
from shadow.controller.wire import Manifest
from tests.shadow.controller.resources import PLATFORM

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
OURS = [{"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {}}}]


class World:
    """One resource and its children. `pods` says whether those of a Deployment become ready."""

    def __init__(self, resource: ShadowDeployment, children: tuple[Manifest, ...] = ()) -> None:
        self.resource = resource
        self.children = {ref_of(child).key: child for child in children}
        self.routers: dict[str, Heard] = {}
        self.now = START
        self.notes: list[Note] = []
        self.pods: dict[str, bool] = {}
        self.number = 0
        self.released = False

    @property
    def seen(self) -> Observed:
        return Observed(tuple(self.children.values()), self.routers)

    def outcome(self) -> Outcome:
        return reconcile(self.resource, self.seen, self.now, PLATFORM)

    def step(self) -> Outcome:
        """One reconciliation, carried out; the pods that may become ready are."""
        found = self.outcome()
        self.resource = msgspec.structs.replace(self.resource, status=found.status)
        for child in found.apply:
            self.apply(child)
        for reference in found.delete:
            del self.children[reference.key]
        self.notes += found.notes
        self.released = found.release
        self.now += timedelta(seconds=1)
        for router in self.routers.values():
            router.accepted = found.status.routers.generation
        return found

    def settle(self) -> int:
        """Steps until one more changes nothing; at most 6."""
        for number in range(1, 7):
            before = (copy.deepcopy(self.children), self.resource)
            found = self.step()
            if before == (self.children, self.resource) and not found.delete and not found.notes:
                return number
        raise AssertionError(f"does not settle: {self.resource.status}")

    def apply(self, child: Manifest) -> None:
        known = self.children.get(ref_of(child).key)
        self.number += 1
        same = known is not None and {k: v for k, v in known.items() if k != "status"} == live(child, known)
        found = known if known is not None and same else live(child, known or {"metadata": {"uid": str(self.number)}})
        if found["kind"] == "Deployment":
            found["spec"].setdefault("replicas", 1)
            found["status"] = self._status(found)
        self.children[ref_of(child).key] = found

    def _status(self, deployment: Manifest) -> dict[str, Any]:
        wanted = deployment["spec"]["replicas"]
        ready = wanted if self.pods.get(deployment["metadata"]["name"], True) else 0
        return {"replicas": wanted, "updatedReplicas": wanted, "availableReplicas": ready}

    def change(self, **spec: Any) -> None:
        """Somebody changes the resource."""
        metadata = msgspec.structs.replace(self.resource.metadata, generation=self.resource.metadata.generation + 1)
        changed = msgspec.structs.replace(self.resource.spec, **spec)
        self.resource = msgspec.structs.replace(self.resource, spec=changed, metadata=metadata)

    def remove(self) -> None:
        """Somebody deletes the resource."""
        moment = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = msgspec.structs.replace(self.resource.metadata, deletion_timestamp=moment)
        self.resource = msgspec.structs.replace(self.resource, metadata=metadata)


def live(child: Manifest, known: Manifest) -> Manifest:
    """The object that an apply of `child` makes."""
    found = copy.deepcopy(child)
    found["metadata"] |= {"uid": known["metadata"].get("uid"), "managedFields": OURS}
    if found["kind"] == "Deployment" and known.get("spec"):
        found["spec"].setdefault("replicas", known["spec"].get("replicas", 1))
    return found
