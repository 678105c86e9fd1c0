"""Who acts: the operator that holds the Lease. Two never act at once; when the first is dead the second takes over.

Clocks of two machines are never compared. A holder counts from before it sent a renewal and stops `MARGIN_SECONDS`
early; the other counts the whole duration from when it saw that renewal, which is later. The client library's election
does neither: it goes by the wall clock, and a renewal that hangs keeps it acting (kubernetes 37,
aio/leaderelection/leaderelection.py). Next module: `shadow.controller.reconcile`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from shadow.controller.api import Api, ClusterError
from shadow.controller.kinds import DEPLOYMENT, LEASE
from shadow.controller.names import COMPONENT_LABEL, INSTANCE_LABEL, MANAGED_LABEL, MANAGER
from shadow.controller.wire import Manifest

logger = logging.getLogger(__name__)

NAME: Final = "understudy-operator"
DURATION_SECONDS: Final = 12
MARGIN_SECONDS: Final = 2.0
"""What a holder stops early: for a change that it sent last and the server has not worked off."""
RENEW_SECONDS: Final = 2.0
"""Between two attempts, of who holds it and of who would like to: so a kill is mended in 10 to 16 s and two calls."""
CALL_SECONDS: Final = 3.0


class Claim:
    """One operator's view of the Lease: pure, all times are of its own monotonic clock."""

    def __init__(self, identity: str, namespace: str, metadata: Manifest | None = None) -> None:
        self.identity = identity
        self._namespace = namespace
        self.metadata = metadata or {}
        """What else the Lease's says: labels, and what it goes with."""
        self._seen: tuple[object, ...] = ()
        self._known = ""
        """Who held it when it was there last."""
        self._seen_at = 0.0
        self._until = 0.0

    def left(self, now: float) -> float:
        """Seconds for which it may act."""
        return max(0.0, self._until - now)

    def wish(self, found: Manifest | None, now: float, wall: datetime) -> Manifest | None:
        """What to write over the Lease that was found; None while somebody else has it."""
        spec = found.get("spec", {}) if found is not None else {}
        holder = spec.get("holderIdentity") or ""
        seen = (found is None, holder, spec.get("renewTime"), spec.get("leaseTransitions"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        if found is not None:
            self._known = holder
        theirs = max(float(spec.get("leaseDurationSeconds") or 0), float(DURATION_SECONDS))
        if self._is_others(found, holder, now) and now - self._seen_at < theirs:
            return None
        return self._lease(found, spec, holder, wall)

    def _is_others(self, found: Manifest | None, holder: str, now: float) -> bool:
        """Whether somebody else may be acting. One whose Lease was deleted may, for as long as it knew to hold it."""
        if found is None:
            return self._known != "" and not self.left(now)
        return holder not in ("", self.identity)

    def _lease(self, found: Manifest | None, spec: Manifest, holder: str, wall: datetime) -> Manifest:
        moment = wall.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        new = holder != self.identity
        metadata = {"name": NAME, "namespace": self._namespace} | self.metadata
        if found is not None:
            # Whoever was faster makes this one a conflict.
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        return LEASE.head | {
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": moment if new else spec.get("acquireTime", moment),
                "renewTime": moment,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + int(new and found is not None),
            },
        }

    def granted(self, sent_at: float) -> None:
        """The server took what was sent at that time: it is there, whatever was seen before."""
        self._until = sent_at + DURATION_SECONDS - MARGIN_SECONDS
        self._known, self._seen = self.identity, ()

    def refused(self) -> None:
        """Somebody else has it, or nobody."""
        self._until = 0.0


def labels_of(release: str) -> Manifest:
    """The metadata of the Lease of a Helm release, "" for an operator that belongs to none."""
    labels = {"app.kubernetes.io/name": "understudy", COMPONENT_LABEL: "operator", MANAGED_LABEL: MANAGER}
    return {"labels": labels | ({INSTANCE_LABEL: release} if release else {})}


async def collected_with(api: Api, namespace: str, deployment: str) -> Manifest:
    """The metadata that has the cluster collect the Lease once the operator's Deployment is gone, its last pods'
    renewals included: an uninstalled release leaves none. `ClusterError`.

    Never with a pod: another would find no Lease where one that was just killed may still act.
    """
    found = await api.get(DEPLOYMENT.path(namespace), field_selector=f"metadata.name={deployment}")
    owners = [
        DEPLOYMENT.head | {"name": deployment, "uid": each["metadata"]["uid"]} for each in found.get("items") or []
    ]
    return {"ownerReferences": owners} if owners else {}


class Lease:
    """Asks for the Lease of a namespace until it is stopped; `left` says for how long it is held."""

    def __init__(
        self,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        metadata: Manifest | None = None,
    ) -> None:
        self._claim = Claim(identity, namespace, metadata)
        self._clock = clock
        self._path = LEASE.path(namespace, NAME)
        self._all = LEASE.path(namespace)
        self._held = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._last: Manifest | None = None
        """As this one wrote it: renewed without reading it first. Whoever wrote it since makes that a conflict."""
        self._trouble = ""
        self.transitions = 0
        """How often it was taken."""
        self.changed: Callable[[bool], None] = lambda _: None
        """Told when it is held and when it is not any more."""

    def goes_with(self, metadata: Manifest) -> None:
        """From the next renewal on its metadata says this, too."""
        self._claim.metadata |= metadata

    def left(self) -> float:
        """Seconds for which changes may still be written; 0 when it is not held."""
        return self._claim.left(self._clock())

    @property
    def held(self) -> bool:
        """Whether it may act now."""
        return self.left() > 0

    async def wait(self) -> None:
        """Until it is held."""
        while not self.held:
            self._held.clear()
            await self._held.wait()

    async def run(self, api: Api) -> None:
        """Take it, renew it, until cancelled."""
        while True:
            started = self._clock()
            await self.attempt(api)
            await asyncio.sleep(max(0.0, RENEW_SECONDS - (self._clock() - started)))

    async def attempt(self, api: Api) -> None:
        """Read it, and take or renew it if that is possible."""
        try:
            found = self._last or await self._read(api)
            self._last = None
            wish = self._claim.wish(found, self._clock(), datetime.now(UTC))
            if wish is None:
                self._give_up()
                return
            sent_at = self._clock()
            if found is None:
                self._last = await api.election("post", self._all, wish, CALL_SECONDS)
            else:
                self._last = await api.election("put", self._path, wish, CALL_SECONDS)
        except ClusterError as error:
            self._tell(str(error))
            return
        self._take(sent_at)

    async def _read(self, api: Api) -> Manifest | None:
        try:
            found: Manifest = await api.election("get", self._path, None, CALL_SECONDS)
        except ClusterError as error:
            if error.kind == "not_found":
                return None
            raise
        return found

    def _take(self, sent_at: float) -> None:
        new = not self.held
        self._claim.granted(sent_at)
        self._trouble = ""
        if not self.held:  # the answer took too long
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self.left(), self._expire)
        if new:
            self.transitions += 1
            logger.info("the lease %s is held by %s", NAME, self._claim.identity)
            self.changed(True)
            self._held.set()

    def _give_up(self) -> None:
        held = self.held
        self._claim.refused()
        if held:
            self._lost()

    def _expire(self) -> None:
        if self.held:  # the loop's clock and ours differ by a little
            self._timer = asyncio.get_running_loop().call_later(self.left(), self._expire)
        else:
            self._lost()

    def _lost(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        logger.warning("the lease %s is lost: nothing is changed any more", NAME)
        self.changed(False)

    async def release(self, api: Api) -> None:
        """Take it away, so that the next need not wait and a namespace that loses its operator keeps nothing of it.

        Only when nothing is written any more. What somebody else wrote since stays.
        """
        if not self.held:
            return
        self._give_up()
        with suppress(ClusterError):
            found = await self._read(api)
            if found is not None and found.get("spec", {}).get("holderIdentity") == self._claim.identity:
                seen = {name: found["metadata"][name] for name in ("uid", "resourceVersion")}
                await api.election("delete", self._path, {"preconditions": seen}, 2.0)

    def _tell(self, text: str) -> None:
        if text != self._trouble:
            logger.warning("lease: %s", text)
        self._trouble = text
