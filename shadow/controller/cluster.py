"""The children as the cluster has them: read, applied with one field manager, deleted when they are nobody's any more.

What somebody else set stays: the server is asked without force, fields that another manager owns are left out and told.
Next module: `shadow.controller.lease`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from shadow.controller.api import Api, ClusterError
from shadow.controller.conflicts import Kept, told, without
from shadow.controller.kinds import CHILDREN, RESOURCE, Kind, kind_called
from shadow.controller.names import HASH_ANNOTATION, MANAGED_LABEL, MANAGER, TAKE_BACK
from shadow.controller.objects import Ref, own_fields, ref_of
from shadow.controller.resource import GROUP
from shadow.controller.wire import Manifest

SELECTOR: Final = f"{MANAGED_LABEL}={MANAGER}"
DONE: Final = "done"
ATTEMPTS: Final = 4
"""An apply that leaves out what is kept may meet a hand that was faster, so many times."""
FINALIZER: Final = f"{GROUP}/children"


@dataclass(frozen=True)
class Settled:
    """What an apply came to: nothing is sent again before either side has changed."""

    wanted: str
    """The manifest's hash."""
    found: str
    """`fingerprint` of the object after it."""
    kept: tuple[Kept, ...]

    def stands(self, wanted: str, found: Manifest) -> bool:
        """Whether an apply now would come to the same."""
        return self.wanted == wanted and self.found == fingerprint(found)


class Cluster:
    """One namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._settled: dict[tuple[str, str], Settled] = {}

    async def resources(self) -> list[Manifest]:
        """All ShadowDeployments."""
        return await self._list(RESOURCE, "")

    async def children(self) -> list[Manifest]:
        """All children of all resources: a list for each kind."""
        return [each for kind in CHILDREN for each in await self._list(kind, SELECTOR)]

    async def _list(self, kind: Kind, selector: str) -> list[Manifest]:
        query = {"label_selector": selector} if selector else {}
        answer = await self._api.get(kind.path(self._namespace), **query)
        # The items of a list come without these two.
        return [kind.head | item for item in answer.get("items") or []]

    def kept(self, wanted: Manifest) -> tuple[Kept, ...]:
        """What the last apply of this child had to leave to others."""
        settled = self._settled.get(ref_of(wanted).key)
        return settled.kept if settled is not None else ()

    @property
    def kept_fields(self) -> int:
        """How many fields of all children others keep."""
        return sum(len(settled.kept) for settled in self._settled.values())

    async def apply(self, wanted: Manifest, found: Manifest | None) -> Manifest | None:
        """Make the child so; the object as it is then, None when there was nothing to do. `ClusterError`."""
        reference, wanted_hash = ref_of(wanted), hash_of(wanted)
        settled = self._settled.get(reference.key)
        if found is not None and settled is not None and settled.stands(wanted_hash, found):
            return None
        if found is not None and found["metadata"].get("annotations", {}).get(TAKE_BACK, DONE) != DONE:
            await self._send(_with_annotation(wanted, TAKE_BACK, DONE), force=True)
        applied, kept = await self._apply(with_replicas(wanted, found), found)
        self._settled[reference.key] = Settled(wanted_hash, fingerprint(applied), kept)
        return applied

    async def _apply(self, wanted: Manifest, found: Manifest | None) -> tuple[Manifest, tuple[Kept, ...]]:
        kept: tuple[Kept, ...] = ()
        for _ in range(ATTEMPTS):
            fields = tuple(dict.fromkeys(each.field for each in kept))
            try:
                return await self._send(without(wanted, fields), force=False), kept
            except ClusterError as error:
                told_now = told(wanted["kind"], wanted["metadata"]["name"], error.body)
                if error.kind != "conflict" or not told_now:
                    raise
            kept += tuple(each for each in told_now if each not in kept)
            if found is not None and any(each.whole for each in kept):
                return found, kept
        raise ClusterError("conflict", f"{ref_of(wanted)}: others change it all the time: {kept[-1]}")

    async def _send(self, body: Manifest, force: bool) -> Manifest:
        path = kind_called(body["kind"]).path(self._namespace, body["metadata"]["name"])
        answer: Manifest = await self._api.apply(path, body, MANAGER, force)
        return answer

    async def delete(self, reference: Ref) -> None:
        """Take this very object away: not one that has its name meanwhile. What is gone already is gone."""
        path = kind_called(reference.kind).path(self._namespace, reference.name)
        options = {"preconditions": {"uid": reference.uid}, "propagationPolicy": "Background"}
        try:
            await self._api.write("delete", path, options)
        except ClusterError as error:
            if error.kind not in ("not_found", "conflict"):
                raise
        self._settled.pop(reference.key, None)

    def forget(self, key: tuple[str, str]) -> None:
        """It is gone."""
        self._settled.pop(key, None)

    async def patch_status(self, found: Manifest, status: dict[str, Any]) -> Manifest:
        """The status is the operator's alone; the resource as it is then."""
        return await self._patch(found, "status", {"status": status}, {})

    async def hold(self, found: Manifest, finalizer: bool) -> Manifest:
        """Keep the resource from vanishing before its children are seen to, or let it go; as it is then."""
        return await self._patch(found, "", {}, {"finalizers": [FINALIZER]} if finalizer else {})

    async def _patch(self, found: Manifest, part: str, body: Manifest, metadata: Manifest) -> Manifest:
        """Apply to this very resource: an apply to one that is gone would make it anew, without the uid."""
        name = found["metadata"]["name"]
        own = RESOURCE.head | {"metadata": {"name": name, "uid": found["metadata"]["uid"]} | metadata}
        path = RESOURCE.path(self._namespace, name, part)
        answer: Manifest = await self._api.apply(path, own | body, MANAGER, force=True)
        return answer


def hash_of(wanted: Manifest) -> str:
    """Of what is wanted: its annotation says it, where it has one."""
    noted: str | None = wanted["metadata"].get("annotations", {}).get(HASH_ANNOTATION)
    return noted or _digest(wanted)


def fingerprint(found: Manifest) -> str:
    """Changes with every change but those of the status: by who owns what since when, and the generation."""
    metadata = found["metadata"]
    managed = [each for each in metadata.get("managedFields") or [] if each.get("subresource") != "status"]
    return _digest([metadata.get("uid"), metadata.get("generation"), managed])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def with_replicas(wanted: Manifest, found: Manifest | None) -> Manifest:
    """`wanted` with the replicas that there are, where it names none any more and they are the operator's.

    An autoscaler that is new takes them over at its first change; given up before that, they would become one.
    """
    if found is None or wanted["kind"] != "Deployment" or "replicas" in wanted["spec"]:
        return wanted
    if not any("f:replicas" in fields.get("f:spec", {}) for fields in own_fields(found)):
        return wanted
    return wanted | {"spec": wanted["spec"] | {"replicas": found["spec"]["replicas"]}}


def _with_annotation(wanted: Manifest, name: str, value: str) -> Manifest:
    metadata = wanted["metadata"]
    return wanted | {"metadata": metadata | {"annotations": metadata.get("annotations", {}) | {name: value}}}
