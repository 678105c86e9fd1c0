"""The operator at work: hears what changed, reconciles, and carries it out while it holds the lease.

Status first, then the routers' configuration, then the children: a number is in the status before a router hears of it,
and who dies in between finds the rest to do. Next module: `shadow.controller.operator_metrics`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from shadow.controller.api import Api, ClusterError
from shadow.controller.cluster import FINALIZER, Cluster
from shadow.controller.config_server import ConfigServer, Published
from shadow.controller.kinds import EVENT, RESOURCE
from shadow.controller.known import Known
from shadow.controller.lease import Lease
from shadow.controller.objects import ref_of
from shadow.controller.observed import Note, Observed, Outcome
from shadow.controller.operator_metrics import Gauges, OperatorCounters
from shadow.controller.reconcile import reconcile
from shadow.controller.resource import Platform, ResourceError, ShadowDeployment, convert
from shadow.controller.wire import Manifest
from shadow.controller.work import Work

logger = logging.getLogger(__name__)

WORKERS: Final = 4
"""Resources that are worked on at once; fewer than connections to the API server."""
RESYNC_SECONDS: Final = 60.0
"""Between two lists of all there is: for what a watch missed."""
SOON_SECONDS: Final = 0.3
"""Pods come and go in bursts: one reconciliation for all of that."""
COUNT_SECONDS: Final = 30.0
"""Routers' counts change all the time: status is written for them at most so often."""
LEASE_SECONDS: Final = 60.0
"""How long routers copy without hearing from an operator."""
TOLD: Final = ("forbidden", "invalid", "conflict", "unauthorized", "not_found")
"""Errors that a person must see to; others pass."""
LONGEST_NOTE: Final = 1_000


class Operator:
    """One namespace's operator."""

    def __init__(self, api: Api, lease: Lease, namespace: str, platform: Platform, token: bytes, identity: str) -> None:
        self._api = api
        self._lease = lease
        self._namespace = namespace
        self._platform = platform
        self._identity = identity
        self._cluster = Cluster(api, namespace)
        self._known = Known()
        self._work = Work()
        self._troubles: dict[str, str] = {}
        self._invalid: dict[str, str] = {}
        self._published: set[str] = set()
        self.counters = OperatorCounters()
        self.server = ConfigServer(token, lambda: lease.held, self._heard)
        self.unready = "the API server has not been heard"
        lease.changed = self._lease_changed

    def _heard(self, key: tuple[str, str], can_wait: bool) -> None:
        """A router said something new."""
        self._work.add_later(key[1], COUNT_SECONDS if can_wait else SOON_SECONDS)

    def saw(self, kind: str, change: str, found: Manifest) -> None:
        """A watch told something; `change` is DELETED or another word."""
        self.counters.events_seen[kind] += 1
        name = self._known.saw(found, gone=change == "DELETED")
        if change == "DELETED":
            self._cluster.forget(ref_of(found).key)
        if name and kind == RESOURCE.name:
            self._work.add(name)
        elif name:
            self._work.add_later(name, SOON_SECONDS)

    def gauges(self) -> Gauges:
        """What is true now."""
        routers = [self.server.routers((self._namespace, name)) for name in self._known.resources]
        generations = [self.server.generation((self._namespace, name)) for name in self._known.resources]
        pairs = zip(routers, generations, strict=True)
        return Gauges(
            held=self._lease.held,
            transitions=self._lease.transitions,
            resources=len(self._known.resources),
            waiting=len(self._work),
            routers=sum(len(each) for each in routers),
            routers_current=sum(router.accepted == number for each, number in pairs for router in each.values()),
            calls=self._api.calls,
            answers=self.server.answers,
            kept=self._cluster.kept_fields,
        )

    async def list_all(self) -> None:
        """Read all there is. `ClusterError`."""
        try:
            self._known.replace(await self._cluster.resources(), await self._cluster.children())
        except ClusterError as error:
            self.counters.lists["failed"] += 1
            if error.kind == "not_found":
                error = ClusterError(error.kind, f"{error}. Install the chart understudy-crds first.")
            self.unready = self.unready and str(error)
            raise error from None
        self.counters.lists["ok"] += 1
        self.unready = ""

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._resync())
            for _ in range(WORKERS):
                group.create_task(self._worker())

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            try:
                await self.list_all()
            except ClusterError as error:
                logger.warning("list: %s", error)
            self._all()

    def _all(self) -> None:
        for name in {*self._known.resources, *self._published}:
            self._work.add(name)

    def _lease_changed(self, held: bool) -> None:
        self.server.wake()
        if held:
            self._all()

    async def _worker(self) -> None:
        while True:
            name = await self._work.take()
            started = time.monotonic()
            try:
                await self._one(name)
                self._work.done(name)
                self.counters.reconciles["ok"] += 1
            except ClusterError as error:
                logger.warning("%s: %s", name, error)
                self.counters.reconciles["failed"] += 1
                self._work.failed(name)
            except Exception:
                # A mistake of ours in one resource must not end the others' care.
                logger.exception("%s", name)
                self.counters.reconciles["failed"] += 1
                self._work.failed(name)
            finally:
                self.counters.reconcile_seconds += time.monotonic() - started

    async def _one(self, name: str) -> None:
        """Look at one resource, and do what is to be done."""
        if not self._lease.held:  # all are worked on when it is
            return
        found, key = self._known.resources.get(name), (self._namespace, name)
        if found is None:
            self._forget(name)
            return
        try:
            resource = convert(found)
            children = self._known.children(name)
            seen = Observed(children, self.server.routers(key), self._kept(children), self._troubles.get(name, ""))
            outcome = reconcile(resource, seen, datetime.now(UTC), self._platform)
        except ResourceError as error:
            await self._refuse(name, found, str(error))
            return
        finalizers = resource.metadata.finalizers
        if resource.metadata.deletion_timestamp and FINALIZER not in finalizers:
            return
        if FINALIZER not in finalizers:
            self._known.saw(await self._cluster.hold(found, True))
        await self._status(found, resource, outcome)
        config = msgspec.json.encode(outcome.config)
        self._published.add(name)
        self.server.publish(key, Published(outcome.status.routers.generation, config, LEASE_SECONDS))
        await self._carry_out(name, outcome)
        for note in outcome.notes:
            await self._tell(found, note)
        if outcome.release:
            await self._cluster.hold(found, False)
            return
        after = Observed(kept=self._kept(self._known.children(name)), trouble=self._troubles.get(name, ""))
        if (after.kept, after.trouble) != (seen.kept, seen.trouble):
            self._work.add(name)
        elif resource.metadata.deletion_timestamp:
            self._work.add_later(name, 1.0)

    def _kept(self, children: tuple[Manifest, ...]) -> Any:
        return tuple(kept for child in children for kept in self._cluster.kept(child))

    def _forget(self, name: str) -> None:
        self.server.withdraw((self._namespace, name))
        self._published.discard(name)
        self._troubles.pop(name, None)
        self._invalid.pop(name, None)

    async def _status(self, found: Manifest, resource: ShadowDeployment, outcome: Outcome) -> None:
        if outcome.status != resource.status:
            status = msgspec.to_builtins(outcome.status)
            self._known.saw(await self._cluster.patch_status(found, status))

    async def _carry_out(self, name: str, outcome: Outcome) -> None:
        """Apply and delete; one that fails does not keep the others from it. The first error is raised in the end."""
        errors = []
        for child in outcome.apply:
            try:
                applied = await self._cluster.apply(child, self._known.child(ref_of(child).key))
                if applied is not None:
                    self._known.saw(applied)
            except ClusterError as error:
                errors.append(error)
        for reference in outcome.delete:
            try:
                await self._cluster.delete(reference)
            except ClusterError as error:
                errors.append(error)
        told = [str(error) for error in errors if error.kind in TOLD]
        if told:
            self._troubles[name] = told[0]
        elif not errors:
            self._troubles.pop(name, None)
        if errors:
            raise errors[0]

    async def _refuse(self, name: str, found: Manifest, text: str) -> None:
        """A resource that the API server let pass, and this operator cannot read or no router would take: an older CRD,
        or an older operator."""
        self.counters.reconciles["invalid"] += 1
        version = found["metadata"].get("resourceVersion", "")
        if self._invalid.get(name) != version:
            self._invalid[name] = version
            logger.error("%s: %s", name, text)
            await self._tell(found, Note("Warning", "Invalid", f"{text}. Nothing is changed until it is corrected."))

    async def _tell(self, about: Manifest, note: Note) -> None:
        """Post an Event; a lost one is counted, no more."""
        metadata = about["metadata"]
        regarding = RESOURCE.head | {
            "name": metadata["name"],
            "namespace": self._namespace,
            "uid": metadata.get("uid", ""),
        }
        body = EVENT.head | {
            "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": self._namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": "understudy.dev/operator",
            "reportingInstance": self._identity[:128],
            "action": "Reconcile",
            "reason": note.reason,
            "regarding": regarding,
            "note": note.text[:LONGEST_NOTE],
            "type": note.type,
        }
        try:
            await self._api.write("post", EVENT.path(self._namespace), body)
        except ClusterError as error:
            self.counters.notes_lost += 1
            logger.warning("event %s of %s: %s", note.reason, metadata["name"], error)
            return
        self.counters.notes[note.type] += 1
        logger.info("%s: %s: %s", metadata["name"], note.reason, note.text)
