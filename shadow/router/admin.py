"""The router's other port: is it alive, is it ready, what has it counted; which configuration is in force, and another.

One request per connection, read as strictly as those of users, with a deadline and a bound. What changes something, or
shows the keys in a configuration, needs the token. Next module: `shadow.router.admin_cli`, who asks here.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from shadow.router.aborts import settle
from shadow.router.config import ConfigError
from shadow.router.control import Control
from shadow.router.counters import RouterCollector
from shadow.router.http1 import RefusalError, Request, RequestReader

SECONDS: Final = 5.0
"""For a request to come whole, and for its answer to leave."""
BODY_BYTES: Final = 1 << 20
CONNECTIONS: Final = 64
"""At once; one more is closed."""
OPEN: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Without a token, always."""
TOLD: Final = frozenset({"/counters"})
"""Without a token if none is set; everything else needs one."""


class Governed(Protocol):
    """The router's process, as its admin port sees it."""

    @property
    def control(self) -> Control | None:
        """None until there is a configuration."""

    def document(self) -> dict[str, Any]:
        """What `/counters` shows."""

    def unready(self) -> str:
        """Why users should not be sent here; "" when they should."""

    async def leave(self) -> None:
        """Drain; returns when all is done."""


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        fixed = (("content-type", self.kind), ("content-length", str(len(self.body))), ("connection", "close"))
        lines += [f"{name}: {value}" for name, value in (*fixed, *self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + self.body


def plain(status: int, text: str) -> Reply:
    """An answer for people and probes."""
    return Reply(status, text.encode() + b"\n", "text/plain; charset=utf-8")


def problem(status: int, detail: str, *headers: tuple[str, str], **more: Any) -> Reply:
    """RFC 9457."""
    document = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, "type": "about:blank"} | more
    return Reply(status, msgspec.json.encode(document), "application/problem+json", headers)


class Admin:
    """Answers on the admin port; without a `token` nothing can be changed there.

    `looking`: what is `OPEN`, and nothing else.
    """

    def __init__(self, house: Governed, token: bytes = b"", looking: bool = False) -> None:
        self._house = house
        self._token = token
        self._registry = CollectorRegistry()
        self._registry.register(RouterCollector(lambda: self._house.document()))
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._ways: dict[str, dict[bytes, Callable[[Request, bytes], Awaitable[Reply]]]] = {
            "/livez": {b"GET": self._alive},
            "/readyz": {b"GET": self._ready},
            "/metrics": {b"GET": self._metrics},
            "/counters": {b"GET": self._counters},
            "/config": {b"GET": self._config, b"PUT": self._change},
            "/abort": {b"POST": self._abort},
            "/resume": {b"POST": self._resume},
            "/drain": {b"POST": self._drain},
        }
        if looking:
            self._ways = {path: way for path, way in self._ways.items() if path in OPEN}

    @property
    def listens(self) -> bool:
        """Whether it has been started."""
        return self._server is not None

    def serve(self, house: Governed) -> None:
        """Answer for this process from now on."""
        self._house = house

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen; `OSError` when the port is taken."""
        self._server = await asyncio.start_server(self._accept, host, port)
        return self._server

    async def close(self) -> None:
        """Take no more, and let those who wait for an answer have it."""
        if self._server is not None:
            self._server.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=SECONDS)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._serving) >= CONNECTIONS:
            writer.transport.abort()
            return
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                request, body = await self._received(reader)
            reply = self._refused(request) or await self._ways[_path(request)][request.method](request, body)
        except RefusalError as refusal:
            reply = problem(refusal.status, refusal.detail)
        async with asyncio.timeout(SECONDS):
            writer.write(reply.raw)
            await writer.drain()

    async def _received(self, reader: asyncio.StreamReader) -> tuple[Request, bytes]:
        """One whole request; one that will be refused is not read any further than its head."""
        parser, request, parts, size = RequestReader(), None, list[bytes](), 0
        while True:
            data = await reader.read(1 << 16)
            if not data:
                raise ConnectionError("left before it had asked")
            parser.feed(data)
            while parser.events:
                event = parser.events.popleft()
                if isinstance(event, Request):
                    request = event
                elif event is not None:
                    parts.append(event)
                    size += len(event)
                if request is not None and (event is None or self._refused(request)):
                    return request, b"".join(parts)
            if size > BODY_BYTES:
                raise RefusalError(413, f"a configuration has at most {BODY_BYTES} bytes")

    def _refused(self, request: Request) -> Reply | None:
        """Why this is not done, if it is not."""
        path = _path(request)
        if path not in self._ways:
            return plain(404, f"there are {', '.join(self._ways)}")
        if request.method not in self._ways[path]:
            allowed = ", ".join(method.decode() for method in self._ways[path])
            return problem(405, f"{path} takes {allowed}", ("allow", allowed))
        if path in OPEN or (path in TOLD and not self._token):
            return None
        if not self._token:
            return problem(403, "this needs a token, and none is set: start the router with UNDERSTUDY_ADMIN_TOKEN")
        given = [value for name, value in request.headers if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        if scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token):
            return None
        return problem(401, "this needs the router's token as a bearer token", ("www-authenticate", "Bearer"))

    async def _alive(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002 - all ways are called alike
        return plain(200, "alive")

    async def _ready(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002
        unready = self._house.unready()
        return plain(503, unready) if unready else plain(200, "ready")

    async def _metrics(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002
        return Reply(200, generate_latest(self._registry), CONTENT_TYPE_LATEST)

    async def _counters(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002
        return Reply(200, msgspec.json.encode(self._house.document()))

    async def _config(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002
        control = self._control
        return Reply(200, control.text, headers=(("etag", control.etag),))

    async def _change(self, request: Request, body: bytes) -> Reply:
        control = self._control
        wanted = [value.decode("latin-1").strip() for name, value in request.headers if name == b"if-match"]
        if len(wanted) != 1:
            return problem(428, "say with one If-Match which configuration this one replaces: the ETag of GET /config")
        if wanted[0] not in ("*", control.etag):
            told = f"{wanted[0]} is not in force, {control.etag} is: look at it, and try again"
            current = msgspec.Raw(msgspec.json.encode(control.config))
            return problem(412, told, ("etag", control.etag), etag=control.etag, config=current)
        if control.source in ("server", "disk", "seed"):
            return problem(409, "the configuration comes from a server: change it there; abort works here, too")
        try:
            control.offer(body, "admin", "PUT /config")
        except ConfigError as error:
            return problem(422, str(error))
        return self._state(control)

    async def _abort(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002
        self._control.abort()
        await settle(self._control)
        return self._state(self._control)

    async def _resume(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002
        self._control.resume()
        await settle(self._control)
        return self._state(self._control)

    async def _drain(self, request: Request, body: bytes) -> Reply:  # noqa: ARG002
        await self._house.leave()
        return Reply(200, msgspec.json.encode(self._house.document()))

    @staticmethod
    def _state(control: Control) -> Reply:
        return Reply(200, msgspec.json.encode(control.document()), headers=(("etag", control.etag),))

    @property
    def _control(self) -> Control:
        if self._house.control is None:
            raise RefusalError(503, "there is no configuration yet")
        return self._house.control


def _path(request: Request) -> str:
    return request.target.partition(b"?")[0].decode("latin-1")
