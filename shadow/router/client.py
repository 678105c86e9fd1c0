"""One connection of a user: requests in their order, one at a time, however they are cut or pipelined.

What a client sends faster than it can be passed on is not read; a client that sends or reads too slowly is let go.
Next module: `shadow.router.server`.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Final

from shadow.router.exchange import Exchange
from shadow.router.http1 import RefusalError, Request, RequestReader, problem
from shadow.router.patience import IDLE_SECONDS, Arrival, linger, reset
from shadow.router.ways import Host

PIPELINED: Final = 64
"""Requests of one connection that may wait; beyond it the router stops reading."""
WAITING_BYTES: Final = 64 << 10
"""Bytes of waiting requests beyond which it stops too."""


class Client(asyncio.Protocol):
    """One connection of a user."""

    def __init__(self, server: Host) -> None:
        self._server = server
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self._whole = True
        """Whether all of the request under way has been handed on."""
        self._refusal: RefusalError | None = None
        self._transport: Any = None
        self._full_since: float | None = None
        self._ended = self._eof = self._held = self._paused = False
        self._waiting_bytes = 0
        self._arrival = Arrival()
        self.address = b"unknown"
        self.active_at = self._opened_at = time.monotonic()
        self._lifetime = server.router.config.connection_seconds * random.uniform(1.0, 1.1)

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or its answer still leaves."""
        return self._exchange is not None or bool(self._transport.get_write_buffer_size())

    # --- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came; one too many is turned away."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]).encode() if peer else b"unknown"
        if len(self._server.clients) >= self._server.router.config.connections:
            self._server.router.counters.turned_away += 1
            self._ended = True
            self._transport.abort()
        else:
            self._server.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """Requests, or what is none."""
        if self._ended or self._refusal is not None:
            return
        self.active_at = time.monotonic()
        try:
            self._reader.feed(data)
        except RefusalError as refusal:
            self._refusal = refusal
        self._arrival.came(self._reader.idle, self.active_at, len(data))
        self._deliver()
        self._waiting_bytes = self._waiting_bytes + len(data) if self._reader.events else 0
        self._regulate()

    def eof_received(self) -> bool:
        """The client will send nothing more; it may still be waiting for answers."""
        self._eof = True
        if not self._reader.idle and self._refusal is None:
            self._refusal = RefusalError(400, "the connection ended within a request")
        self._deliver()
        return not self._transport.is_closing()

    def pause_writing(self) -> None:
        """The client does not read its answer: the primary has to wait, and no further request is begun."""
        self._full_since = time.monotonic()
        if self._exchange is not None:
            self._exchange.client_full()

    def resume_writing(self) -> None:
        """It reads again."""
        self._full_since = None
        if self._exchange is not None:
            self._exchange.client_takes()
        self._next()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone."""
        self._ended = True
        self._server.clients.discard(self)
        self._reader.events.clear()
        self._reader.close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        self._server.changed()

    # --- what the exchange calls -------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Bytes for the client."""
        self._transport.write(data)

    def finish(self, close: bool) -> None:
        """The answer has left whole."""
        self._exchange = None
        self.active_at = time.monotonic()
        if self._held:
            self.resume()  # what the primary did not take of an answered request holds up nobody
        if close or self._server.closing:
            self._end()
        elif self._reader.events or self._refusal is not None or self._eof:
            # Not from within the callback that ended the last exchange: a long pipeline would become a deep stack.
            asyncio.get_running_loop().call_soon(self._next)
        self._server.changed()

    def break_off(self, abort: bool) -> None:
        """The answer cannot become whole: end after what has left, or by a reset when only that can tell."""
        self._exchange = None
        self._ended = True
        if abort:
            reset(self._transport)  # an end in order would look like that of a whole answer
        else:
            self._transport.close()
        self._server.changed()

    def pause(self) -> None:
        """Read no more of the request for now."""
        self._held = True
        self._regulate()

    def resume(self) -> None:
        """Read on."""
        self._held = False
        self._regulate()

    # --- what the server calls ---------------------------------------------------------------------------------------

    def be_the_last(self) -> None:
        """The answer under way says that it is the last; a client without one may still ask once."""
        if self._exchange is not None:
            self._exchange.be_the_last()

    def drain(self) -> None:
        """Close as soon as nothing is under way."""
        if self._exchange is not None:
            self.be_the_last()
        elif not self._reader.events and self._refusal is None and not self._ended:
            self._transport.close()

    def sweep(self, now: float) -> None:
        """Refuse a request that comes too slowly; close a connection that is idle, or unread, for too long."""
        late = self._arrival.late(now, self._paused)
        if late and self._refusal is None and not self._ended:
            self._refusal = RefusalError(408, "the request took too long to come")
            self._deliver()
            return
        idle_since = self._full_since if self._full_since is not None else self.active_at
        waits = self._exchange is not None and self._full_since is None
        if not waits and now - idle_since > IDLE_SECONDS:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # --- within ------------------------------------------------------------------------------------------------------

    def _regulate(self) -> None:
        """Read on, or not: while the primary takes no more, or enough requests wait."""
        waiting = self._waiting_bytes > WAITING_BYTES or len(self._reader.events) > 2 * PIPELINED
        paused = self._held or (waiting and bool(self._reader.events))
        if paused != self._paused:
            self._paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _deliver(self) -> None:
        """Hand on what came: to the request under way, or as the next one."""
        if self._exchange is not None and not self._whole:
            body, self._whole = self._reader.body()
            if body or self._whole:
                self._exchange.more(body, self._whole)
            if self._refusal is not None and not self._whole:
                self._exchange.refuse(self._refusal)
        self._next()

    def _next(self) -> None:
        """Begin the next request, if none is under way; a refusal comes after the requests before it."""
        if self._exchange is not None or self._full_since is not None or self._ended or self._transport.is_closing():
            return
        if self._reader.events:
            request = self._reader.events.popleft()
            assert isinstance(request, Request)  # what came before was taken whole
            body, self._whole = self._reader.body()
            if self._refusal is not None and not self._whole:
                self._refuse(self._refusal)
                return
            self._begin(request, body)
            self._regulate()
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif self._eof:
            self._end()

    def _begin(self, request: Request, body: bytes) -> None:
        if self._server.draining or self.active_at - self._opened_at > self._lifetime:
            request.keep_alive = False
        if not self._server.router.serves(request):
            self._server.router.refuse()
            close = not (request.keep_alive and self._whole)
            detail = "there is nothing for users at this path"
            self.write(problem(404, detail, close=close, bodiless=request.method == b"HEAD"))
            self.finish(close)
            return
        self._exchange = self._server.exchange(self._server.router, request, body, self._whole, self)

    def _refuse(self, refusal: RefusalError) -> None:
        self._server.router.refuse()
        self._transport.write(problem(refusal.status, refusal.detail))
        self._end()

    def _end(self) -> None:
        """Close after what was written; what still comes is read for a moment and thrown away."""
        if self._ended:
            return
        self._ended = True
        lingers = self._refusal is not None or not self._reader.idle or bool(self._reader.events) or not self._whole
        self._reader.events.clear()
        if self._eof or not lingers:
            self._transport.close()
            return
        self._held = False
        self._regulate()
        self._transport.write_eof()
        linger(self._transport)
