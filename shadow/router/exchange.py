"""One request from its arrival to its last record, to be read from top to bottom.

begin → which arms → the primary → the answer leaves → only then are copies offered. Nothing an arm does can reach back
above that line. Next module: `shadow.router.server`, which owns the client's connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shadow.contracts import CLIENT_CANCELLED, PRIMARY_ERROR, Answer
from shadow.router.config import RouterConfig, is_private
from shadow.router.config import upstream as address_of
from shadow.router.counters import Counters
from shadow.router.headers import event_time_of, hops_of, request_id_of, to_arm, to_client, to_primary
from shadow.router.http1 import Request, problem
from shadow.router.mirror import OVERHEAD_BYTES, Copy, Mirror
from shadow.router.pairlog import PairLog
from shadow.router.records import Draft, answer_of
from shadow.router.sampling import bucket_of, sampled, unit_of, user_of, without_user
from shadow.router.upstream import Exchanged, Leg, Pool

PRIMARY_BODY_BYTES: Final = 256 << 10
"""Bytes of the primary's body that are kept in a record."""


@dataclass
class Router:
    """What every exchange needs: the configuration, the primary's pool, the arms, the counters and the log."""

    config: RouterConfig
    unit_key: bytes
    incarnation: str
    counters: Counters
    log: PairLog
    pool: Pool
    mirrors: list[Mirror]
    paths: frozenset[bytes]
    """The paths of the routes."""
    private: frozenset[bytes]
    """The paths that users do not get."""
    parameter: bytes
    """The query parameter that names the user."""

    @staticmethod
    def of(config: RouterConfig, unit_key: bytes, incarnation: str, log: PairLog) -> Router:
        """A router for `config`; must be called inside a running loop."""
        counters = Counters.of(arm.name for arm in config.arms)
        pool = Pool(*address_of("primary.url", config.primary.url), config.primary.idle_connections)
        mirrors = [Mirror(arm, counters.arms[arm.name], log.write) for arm in config.arms]
        paths = frozenset(route.path.encode() for route in config.routes)
        private = frozenset(path.encode() for path in config.private_paths)
        parameter = config.unit_parameter.encode()
        return Router(config, unit_key, incarnation, counters, log, pool, mirrors, paths, private, parameter)

    def serves(self, request: Request) -> bool:
        """Whether the request may go to the primary; the routes may, whatever `private_paths` says."""
        return request.target.partition(b"?")[0] in self.paths or not is_private(request.target, self.private)

    def refuse(self) -> None:
        """Count a request that was none, or not for the primary."""
        for mirror in self.mirrors:
            mirror.counters.refuse()

    def document(self) -> dict[str, object]:
        """What `/counters` shows."""
        document = self.counters.document()
        for mirror in self.mirrors:
            document["arms"][mirror.arm.name]["queue_bytes"] = mirror.queued_bytes
        names = {"incarnation": self.incarnation, "experiment": self.config.experiment}
        return names | document | {"pair_log": self.log.document()}


class Exchange:
    """One request. `respond(answer, close)` writes to the client; it is called exactly once, unless cancelled."""

    def __init__(self, router: Router, request: Request, client: bytes, respond: Callable[[bytes, bool], None]) -> None:
        self._router = router
        self._request = request
        self._respond = respond
        self._request_id = request_id_of(request)
        self._arrival_us = time.time_ns() // 1000
        self._identify()
        self._chosen = self._choose()
        payload = to_primary(request, self._request_id, client)
        self._leg: Leg | None = Leg(router.pool, payload, router.config.primary.deadline_ms / 1000, self._primary_ended)

    def cancel(self) -> None:
        """The client went away before its answer."""
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.cancel()

    def be_the_last(self) -> None:
        """The connection ends with this answer, and the answer says so."""
        self._request.keep_alive = False

    def _identify(self) -> None:
        """The raw user id, which never leaves this object; its unit ("" when there is none); the bucket."""
        router = self._router
        self._path, _, query = self._request.target.partition(b"?")
        self._user = user_of(query, router.parameter)
        self._unit = unit_of(self._user, router.unit_key) if self._user is not None else ""
        # A request that names no user is sampled by its own id: it has nothing else to be kept together by.
        self._bucket = bucket_of(self._unit or unit_of(self._request_id, router.unit_key))

    def _choose(self) -> list[Mirror]:
        """The arms that will get an outcome; the others are counted at once."""
        eligible = self._path in self._router.paths
        chosen = []
        for mirror in self._router.mirrors:
            if not eligible:
                mirror.counters.ineligible()
            elif not sampled(self._bucket, mirror.arm.fraction):
                mirror.counters.unsampled()
            else:
                mirror.counters.begin()
                chosen.append(mirror)
        return chosen

    def _primary_ended(self, end: Exchanged) -> None:
        """The primary's answer is whole, or will never be."""
        cancelled = self._leg is None and end.error == "cancelled"
        self._leg = None
        close = not self._request.keep_alive
        if end.answer is not None:
            self._router.counters.answered += 1
            self._respond(to_client(end.answer, self._request_id, close), close)
            self._offer_copies(end)
            return
        if not cancelled:
            self._router.counters.primary_errors += 1
            status = 504 if end.error == "timeout" else 502
            detail = f"the primary did not answer ({end.error})"
            self._respond(problem(status, detail, self._request_id, close), close)
        self._without_copies(CLIENT_CANCELLED if cancelled else PRIMARY_ERROR, end)

    def _offer_copies(self, end: Exchanged) -> None:
        """The line: from here on the client has its answer."""
        if not self._chosen:
            return
        config = self._router.config
        primary = answer_of(config.primary.version, end, 0, PRIMARY_BODY_BYTES)
        draft = self._draft(primary)
        looped = hops_of(self._request) > 0
        # Whoever is asked first has the machine for a moment to itself: the arms take turns, or shadow − control would
        # measure the order in which the configuration names them.
        first = self._router.counters.answered % len(self._chosen)
        for mirror in self._chosen[first:] + self._chosen[:first]:
            if looped:
                mirror.drop(draft, "loop")
            else:
                payload = to_arm(self._request, self._request_id, mirror.arm.name, config.experiment)
                mirror.offer(Copy(payload, draft, len(payload) + len(primary.body) + OVERHEAD_BYTES))

    def _without_copies(self, outcome: str, end: Exchanged) -> None:
        if not self._chosen:
            return
        version = self._router.config.primary.version
        primary = None if outcome == CLIENT_CANCELLED else answer_of(version, end, 0, PRIMARY_BODY_BYTES)
        draft = self._draft(primary)
        for mirror in self._chosen:
            mirror.decide(draft, outcome, None)

    def _draft(self, primary: Answer | None) -> Draft:
        return Draft(
            request_id=self._request_id.decode(),
            experiment=self._router.config.experiment,
            incarnation=self._router.incarnation,
            arrival_us=self._arrival_us,
            event_time_us=event_time_of(self._request, self._arrival_us),
            target=without_user(self._request.target, self._router.parameter, self._user, self._unit),
            unit=self._unit,
            bucket=self._bucket,
            primary=primary,
        )
