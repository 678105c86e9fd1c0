"""The routers' configuration server (docs/control.md): long polls, each answered the moment there is something new.

Only the operator that holds the lease answers; another says 503, and the router asks again. A generation is published
after it stands in the resource's status, so a restart cannot give its number to another configuration. Next module:
`shadow.controller.handlers`.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from shadow.control_contract import ACK_PATH, CONFIG_PATH, Acknowledgement, Offer
from shadow.controller.observed import Heard
from shadow.controller.roster import COUNTS, MOST_REASONS, Roster, acknowledged, inferred, reported

MOST_CONNECTIONS: Final = 2_048
"""One for each router; one more is closed at once and counted."""
MOST_ROUTERS: Final = 4_096
"""That are remembered."""
LONGEST_WAIT_SECONDS: Final = 60.0
HEAD_SECONDS: Final = 10.0
"""A connection that has asked nothing by then is closed."""
BODY_SECONDS: Final = 5.0
BODY_BYTES: Final = 64 << 10

Key = tuple[str, str]
"""Namespace and name of a ShadowDeployment."""


@dataclass(frozen=True)
class Published:
    """What the routers of one resource should have."""

    generation: int
    config: bytes
    """A `RouterConfig` as JSON."""
    lease_seconds: float


@dataclass
class _Desk:
    """One resource: what is published, who waits for the next, who was heard."""

    published: Published | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    routers: Roster = field(default_factory=Roster)


class ConfigServer:
    """Serves what is published. `holds` says whether this operator has the say; `heard` is told of which resource a
    router said something new, and whether that can wait (counts).
    """

    def __init__(
        self,
        token: bytes,
        holds: Callable[[], bool],
        heard: Callable[[Key, bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._holds = holds
        self._told = heard
        self._clock = clock
        self._desks: dict[Key, _Desk] = {}
        self._spoken: set[RequestHandler] = set()
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self.answers: Counter[str] = Counter()
        """By status, and `too_many` for connections that were closed at once."""

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that it is. `OSError` when it is taken."""
        self._server = web.Server(self._serve, handler_cancellation=True, keepalive_timeout=75.0, access_log=None)
        self._listener = await asyncio.get_running_loop().create_server(self._connection, host, port)
        return int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Answer nobody any more."""
        if self._listener is not None and self._server is not None:
            self._listener.close()
            self.wake()
            await self._server.shutdown(1.0)

    def publish(self, key: Key, published: Published) -> None:
        """From now on the routers of `key` should have this."""
        desk = self._desks.setdefault(key, _Desk())
        if desk.published != published:
            desk.published = published
            _wake(desk)

    def withdraw(self, key: Key) -> None:
        """There is no such resource any more."""
        if (desk := self._desks.pop(key, None)) is not None:
            desk.published = None
            _wake(desk)

    def wake(self) -> None:
        """The lease came or went: let all who wait hear of it."""
        for desk in self._desks.values():
            _wake(desk)

    def routers(self, key: Key) -> dict[str, Heard]:
        """The routers of a resource that were heard lately, by name."""
        desk = self._desks.get(key)
        return desk.routers.alive(self._clock()) if desk is not None else {}

    def generation(self, key: Key) -> int:
        """The number of what is published; 0 when nothing is."""
        desk = self._desks.get(key)
        return desk.published.generation if desk is not None and desk.published is not None else 0

    @property
    def connected(self) -> int:
        """Routers of all resources."""
        return sum(len(self.routers(key)) for key in self._desks)

    def _connection(self) -> asyncio.BaseProtocol:
        assert self._server is not None
        if len(self._server.connections) >= MOST_CONNECTIONS:
            self.answers["too_many"] += 1
            return _Refused()
        handler = self._server()
        asyncio.get_running_loop().call_later(HEAD_SECONDS, self._check, handler)
        return handler

    def _check(self, handler: RequestHandler) -> None:
        if handler not in self._spoken:
            handler.force_close()
        self._spoken.discard(handler)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self._spoken.add(request.protocol)
        asyncio.get_running_loop().call_later(HEAD_SECONDS, self._spoken.discard, request.protocol)
        answer = await self._answer(request)
        self.answers[str(answer.status)] += 1
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._allowed(request):
            return _said(401, "the token is not this operator's: set control-token in the router's Secret")
        if not self._holds():
            # Closed, so that the next connection may come to the operator that has the say.
            return _said(503, "another operator holds the lease: ask again", close=True)
        parts = request.path.strip("/").rsplit("/", 3)
        key = (parts[-3], parts[-2]) if len(parts) >= 3 else ("", "")
        desk = self._desks.get(key)
        if desk is None or desk.published is None:
            return _said(404, "there is no such ShadowDeployment here")
        if request.method == "GET" and f"/{parts[-1]}" == CONFIG_PATH:
            return await self._config(request, desk, key)
        if request.method == "POST" and f"/{parts[-1]}" == ACK_PATH:
            return await self._acknowledged(request, desk, key)
        return _said(404, "ask NAMESPACE/NAME/config or /ack")

    def _allowed(self, request: web.BaseRequest) -> bool:
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        return not self._token or hmac.compare_digest(shown, self._token)

    async def _config(self, request: web.BaseRequest, desk: _Desk, key: Key) -> web.StreamResponse:
        query = request.query
        try:
            name, seen, wait = query["router"], int(query["generation"]), float(query["wait"])
        except (KeyError, ValueError):
            return _said(400, "router, generation and wait are needed")
        router = self._router(desk, name, query.get("incarnation", ""))
        if router is None:
            return _said(503, "too many routers", close=True)
        router.suspended = tuple(filter(None, query.get("suspended", "").split(",")))[:MOST_REASONS]
        news, more = reported(router, query.get("report", "")), inferred(router, seen, self.generation(key))
        if news or more:
            self._told(key, news == COUNTS and not more)
        if desk.published is not None and desk.published.generation == seen:
            try:
                async with asyncio.timeout(max(0.0, min(wait, LONGEST_WAIT_SECONDS))):
                    await desk.changed.wait()
            except TimeoutError:
                pass
            router.at = self._clock()
        return self._offer(desk, seen)

    def _offer(self, desk: _Desk, seen: int) -> web.StreamResponse:
        published = desk.published
        if published is None or not self._holds():
            return _said(503, "not here any more: ask again", close=True)
        if published.generation == seen:
            return web.Response(status=204)
        offer = Offer(
            generation=published.generation,
            lease_seconds=published.lease_seconds,
            config=msgspec.Raw(published.config),
        )
        return web.Response(body=msgspec.json.encode(offer), content_type="application/json")

    def _router(self, desk: _Desk, name: str, incarnation: str) -> Heard | None:
        """The router of that name; None when there are too many."""
        elsewhere = sum(len(each.routers) for each in self._desks.values() if each is not desk)
        return desk.routers.heard(name, incarnation, self._clock(), MOST_ROUTERS - elsewhere)

    async def _acknowledged(self, request: web.BaseRequest, desk: _Desk, key: Key) -> web.StreamResponse:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                told = msgspec.json.decode(await _body(request), type=Acknowledgement)
        except (msgspec.DecodeError, TimeoutError, ValueError) as error:
            return _said(400, f"no acknowledgement: {error}", close=True)
        router = self._router(desk, told.router, told.incarnation)
        if router is None:
            return _said(503, "too many routers", close=True)
        acknowledged(router, told)
        self._told(key, False)
        return web.Response(status=204)


class _Refused(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


async def _body(request: web.BaseRequest) -> bytes:
    data = await request.content.read(BODY_BYTES + 1)
    while not request.content.at_eof() and len(data) <= BODY_BYTES:
        data += await request.content.read(BODY_BYTES + 1 - len(data))
    if len(data) > BODY_BYTES:
        raise ValueError(f"more than {BODY_BYTES} bytes")
    return data


def _wake(desk: _Desk) -> None:
    desk.changed.set()
    desk.changed = asyncio.Event()


def _said(status: int, text: str, close: bool = False) -> web.Response:
    answer = web.Response(status=status, text=text + "\n")
    if close:
        answer.force_close()
    return answer
