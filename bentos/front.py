"""What every request passes first: its id, the bound on requests at once, metrics, the fast lane, the last resort.

`GET /recommend` is answered here, by the same code that FastAPI would call, without the frameworks' share: at 500
requests a second that share is a fifth of a core (docs/benchmarks.md). Everything else goes on to BentoML and the
FastAPI application it mounts; what fails there in another form leaves as a problem too. Next module: `bentos.service`.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bentos.api import ROUTES, Reply
from bentos.lifecycle import Lifecycle
from bentos.metrics import OTHER_ROUTE
from bentos.problems import MEDIA_TYPE, Headers, ProblemError, overloaded, plain
from bentos.requests import IDENTITY, header, request_id

log = logging.getLogger(__name__)
PROBES: Final = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Always answered, whatever the load, and not counted: they would drown the others."""
READING: Final = ("GET", "HEAD")
"""The methods of a probe."""
HIDDEN: Final = frozenset({"/docs.json", "/schema.json"})
"""BentoML's own descriptions, of an API that is not ours; ours is /openapi.json."""
FAST: Final = "/recommend"
JSON_TYPE: Final = (b"content-type", b"application/json")
PROBLEM_TYPE: Final = (b"content-type", MEDIA_TYPE.encode())
CLOSE: Final = (b"connection", b"close")
TEXTS: Final = (b"text/plain", b"application/json")
"""What the frameworks say errors in; a problem of our own is none of these."""
DETAIL_BYTES: Final = 2_000


class Front:
    """ASGI middleware around the service's application. `fast_lane`: whether `GET /recommend` is answered here; without
    it the application answers, to the same limits, metrics and ids, and the lane's worth can be measured.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle, fast_lane: bool = True) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._fast_path = FAST if fast_lane else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or (scope["path"] in PROBES and scope["method"] in READING):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        lifecycle = self._lifecycle
        most = lifecycle.most_requests
        identity = request_id(scope["headers"])
        lifecycle.in_flight += 1
        try:
            if lifecycle.in_flight > most:
                status, source = await self._reply(send, identity, _refusal(overloaded(most))), ""
            elif scope["path"] in HIDDEN:
                status, source = await self._reply(send, identity, _refusal(plain(404, "Not Found"))), ""
            elif scope["path"] == self._fast_path and scope["method"] == "GET":
                status, source = await self._fast(scope, send, identity)
            else:
                status, source = await self._through(scope, receive, send, identity), ""
        finally:
            lifecycle.in_flight -= 1
        route = scope["path"] if scope["path"] in ROUTES else OTHER_ROUTE
        lifecycle.metrics.finished(route, status, source, time.perf_counter() - started)

    async def _fast(self, scope: Scope, send: Send, identity: str) -> tuple[int, str]:
        try:
            api = self._lifecycle.api()
            reply = await api.recommend(scope["query_string"], scope["headers"], identity)
        except ProblemError as error:
            reply = _refusal(error)
        except Exception:
            log.exception("GET %s failed, request id %s", FAST, identity)
            reply = _refusal(plain(500, f"the log of the process tells of request {identity}"))
        return await self._reply(send, identity, reply), reply.source

    async def _reply(self, send: Send, identity: str, reply: Reply) -> int:
        headers = [
            PROBLEM_TYPE if reply.status >= 400 else JSON_TYPE,
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", identity.encode()),
            *reply.headers,
        ]
        if self._lifecycle.draining:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        return reply.status

    async def _through(self, scope: Scope, receive: Receive, send: Send, identity: str) -> int:
        scope[IDENTITY] = identity
        answer = _Answer(send, identity, self._lifecycle)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            log.exception("%s %s failed, request id %s", scope["method"], scope["path"], identity)
            if not answer.sent:
                error = plain(500, f"the log of the process tells of request {identity}")
                return await self._reply(send, identity, _refusal(error))
        await answer.end()
        return answer.status


class _Answer:
    """An answer on its way out: gets the request id, and when it is an error, the form of a problem."""

    def __init__(self, send: Send, identity: str, lifecycle: Lifecycle) -> None:
        self._send = send
        self._identity = identity
        self._lifecycle = lifecycle
        self._held: Message | None = None
        self._text = bytearray()
        self.status = 0
        self.sent = False
        """Whether any of it has left."""

    async def send(self, message: Message) -> None:
        """Pass a message on, or hold it back when it is an error told in another form."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400 and header(message["headers"], b"content-type").startswith(TEXTS):
                self._held = message
                return
            message = {**message, "headers": [*message["headers"], *self._added()]}
        elif self._held is not None:
            self._text += message.get("body", b"")[:DETAIL_BYTES]
            return
        self.sent = True
        await self._send(message)

    async def end(self) -> None:
        """Send what was held back, as a problem."""
        if self._held is None:
            return
        kept = [each for each in self._held["headers"] if each[0] not in (b"content-type", b"content-length")]
        error = plain(self.status, self._text[:DETAIL_BYTES].decode(errors="replace").strip(), kept)
        body = error.body()
        length = (b"content-length", b"%d" % len(body))
        headers = [PROBLEM_TYPE, length, *kept, *self._added()]
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _added(self) -> Headers:
        added: Headers = [(b"x-request-id", self._identity.encode())]
        return [*added, CLOSE] if self._lifecycle.draining else added


def _refusal(error: ProblemError) -> Reply:
    return Reply(error.status, error.headers, error.body())
