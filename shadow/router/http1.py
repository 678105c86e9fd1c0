"""HTTP/1.1 requests, read strictly: what is ambiguous is refused, never guessed and never passed on (RFC 9112).

The grammar is httptools' (llhttp, lenient flags off); here stand the rules that it leaves open. A body is not held:
its parts leave as they come. Next module: `shadow.router.answers`, the other direction.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httptools
import msgspec

HEAD_BYTES: Final = 32 << 10
"""Longest head, and most bytes of framing (trailers, chunk extensions) between two parts of a body."""
METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"})
"""RFC 9110 §9.2.2."""
CHUNKED: Final = -1
"""The length of a body that comes in chunks."""
LAST_CHUNK: Final = b"0\r\n\r\n"
STATUS_LINES: Final = {int(each): b"HTTP/1.1 %d %b" % (each, each.phrase.encode()) for each in HTTPStatus}
_HOST: Final = re.compile(rb"[A-Za-z0-9._~%-]+(:[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{0,5})?")
_RTSP: Final = re.compile(rb" RTSP/")
_NOT_SPOKEN: Final = "{} is not spoken here, HTTP/1.1 is"
REQUEST_ID: Final = b"x-request-id"
EVENT_TIME: Final = b"x-understudy-event-time"
HOPS: Final = b"x-understudy-hops"
_ONCE: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_KNOWN: Final = _ONCE | {b"connection", REQUEST_ID, EVENT_TIME, HOPS}
Headers = list[tuple[bytes, bytes]]
"""Names in lower case, in the order of arrival."""


class RefusalError(Exception):
    """A request that is not served: the status and why. The connection is closed after the answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail


@dataclass(slots=True)
class Request:
    """The head of one request."""

    method: bytes
    target: bytes
    headers: Headers
    known: dict[bytes, bytes]
    """The first value of each header that the router itself reads (`_KNOWN`), so that nobody searches for them."""
    length: int
    """Bytes of the body, or `CHUNKED`."""
    keep_alive: bool
    is_http10: bool


class RequestReader:
    """Cuts a stream of bytes into requests; `feed` raises `RefusalError` for the first that is not served.

    `events` holds what came and is not taken yet: per request its head, the parts of its body, and None at its end.
    """

    def __init__(self) -> None:
        self.events: deque[Request | bytes | None] = deque()
        self.idle = True
        """Whether the bytes so far end with a whole request: nothing of a next one has come."""
        self._silent_bytes = 0
        self._in_head = False
        self._first_line = True
        """Whether the line under way began outside a head: a head in it is still at its request line."""
        self._end = b""
        """The last bytes of a head under way: " RTSP/" may go on from there."""
        self._target = b""
        self._headers: Headers = []
        self._refusal: RefusalError | None = None
        self._parser: Any = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> None:
        """Take bytes; what they complete goes to `events`."""
        before = len(self.events)
        try:
            rest = self._past_rtsp(data) if b" RTSP/" in self._end + data else data
            if line := rest.rfind(b"\n") + 1:
                self._parser.feed_data(rest[:line])
                self._first_line = not self._in_head
                # A request of HTTP/0.9 is one line: its client is not left to wait for headers. llhttp tells the
                # version with the next byte only, and until then, on a new connection, none.
                if self._in_head and self._parser.get_http_version() in ("0.0", "0.9"):
                    raise RefusalError(400, _NOT_SPOKEN.format("HTTP/0.9"))
            if line < len(rest):
                self._parser.feed_data(rest[line:])
        except httptools.HttpParserUpgrade:
            raise RefusalError(501, "upgrades and CONNECT are not supported") from None
        except httptools.HttpParserError as error:
            raise self._refusal or _meaning(error) from None
        # What never ends (a header, a trailer, a chunk's extension) reaches no callback, so it is counted here.
        self._silent_bytes = 0 if self.idle or len(self.events) > before else self._silent_bytes + len(data)
        self._end = (self._end + data)[-5:] if self._in_head else b""
        if self._silent_bytes > HEAD_BYTES:
            raise RefusalError(431, f"the request's head is longer than {HEAD_BYTES} bytes")

    def body(self) -> tuple[bytes, bool]:
        """Take what has come of the body of the first request, whose head is taken; and whether that is all of it."""
        parts: list[bytes] = []
        while self.events:
            part = self.events.popleft()
            if part is None:
                return b"".join(parts), True
            assert isinstance(part, bytes)
            parts.append(part)
        return b"".join(parts), False

    def close(self) -> None:
        """Read no more. Reader and parser know each other: without this only the collector would free them."""
        self._parser = None

    def on_message_begin(self) -> None:  # noqa: D102 - httptools' callbacks
        self.idle = False
        self._in_head = True
        self._target = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        # Trailers come here too: they end at this hop (RFC 9110 §6.5.1).
        if self._in_head:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:  # noqa: D102
        self._in_head = False
        head_bytes = len(self._target) + sum([len(name) + len(value) + 4 for name, value in self._headers])
        if head_bytes > HEAD_BYTES:
            self._refuse(431, f"the request's head is longer than {HEAD_BYTES} bytes")
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._refuse(400, _NOT_SPOKEN.format(f"HTTP/{version}"))
        if method not in METHODS:
            supported = ", ".join(sorted(each.decode() for each in METHODS))
            self._refuse(501, f"method {method.decode('latin-1')} is not supported; {supported} are")
        if not self._target.startswith(b"/") or b"#" in self._target:
            self._refuse(400, "the target must be a path, without a fragment")
        known = self._known()
        length = self._length_of(known, version)
        # HTTP/1.0 knows persistence only by an extension; it gets one answer per connection.
        keep_alive = version == "1.1" and self._parser.should_keep_alive()
        self.events.append(Request(method, self._target, self._headers, known, length, keep_alive, version == "1.0"))

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self.events.append(body)

    def on_message_complete(self) -> None:  # noqa: D102
        self.idle = True
        self.events.append(None)

    def _past_rtsp(self, data: bytes) -> bytes:
        """Take `data` as far as RTSP is named in it, the rest is returned; refuse RTSP in a request line.

        llhttp reads RTSP too, and does not tell it from HTTP. What it has read up to there tells a request line from a
        header or a body that holds the same words.
        """
        taken = 0
        for found in _RTSP.finditer(self._end + data):
            end = found.end() - len(self._end)
            if line := data.rfind(b"\n", taken, end) + 1:
                self._parser.feed_data(data[taken:line])
                self._first_line = not self._in_head
                taken = line
            self._parser.feed_data(data[taken:end])
            taken = end
            if self._in_head and self._first_line:
                raise RefusalError(400, _NOT_SPOKEN.format("RTSP"))
        return data[taken:]

    def _known(self) -> dict[bytes, bytes]:
        """The headers that the router reads, once those that rule over the message are clear."""
        known: dict[bytes, bytes] = {}
        for name, value in self._headers:
            if name in _KNOWN:
                if name in known and name in _ONCE:
                    self._refuse(400, f"there is more than one {name.decode()} header")
                # White space behind a value is no part of it (RFC 9110 §5.5), but llhttp leaves it. Behind a transfer
                # coding it is refused: llhttp takes a tab there for a part of the coding's name.
                known.setdefault(name, value if name == b"transfer-encoding" else value.rstrip(b" \t"))
        host = known.get(b"host")
        if host is None or not _HOST.fullmatch(host):
            self._refuse(400, "exactly one Host header with one host is needed")
        if b"upgrade" in known:
            self._refuse(501, "upgrades and CONNECT are not supported")
        if b"expect" in known and known[b"expect"].lower() != b"100-continue":
            self._refuse(417, "only the expectation 100-continue is supported")
        return known

    def _length_of(self, known: dict[bytes, bytes], version: str) -> int:
        """The length of the body."""
        length, coding = known.get(b"content-length"), known.get(b"transfer-encoding")
        if coding is not None:
            if length is not None or version == "1.0":
                self._refuse(400, "a request body is framed either by a Content-Length or by a Transfer-Encoding")
            if coding.lower() != b"chunked":
                self._refuse(501, "the only transfer coding that is supported is chunked")
            return CHUNKED
        if length is None:
            return 0
        if not length.isdigit() or len(length) > 18:
            self._refuse(400, "Content-Length must be one number")
        return int(length)

    def _refuse(self, status: int, detail: str) -> None:
        # httptools wraps what a callback raises; the refusal is kept so that `feed` can raise it as it is.
        self._refusal = self._refusal or RefusalError(status, detail)
        raise self._refusal


def chunked(data: bytes, last: bool) -> bytes:
    """A part of a body in chunks, and the end of the body when it is the `last` one."""
    return (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (LAST_CHUNK if last else b"")


def _meaning(error: httptools.HttpParserError) -> RefusalError:
    text = str(error) or type(error).__name__
    return RefusalError(
        501 if "method" in text.lower() and "http/" not in text.lower() else 400, f"not HTTP/1.1: {text}"
    )


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details, as the router answers them."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def problem(status: int, detail: str, request_id: bytes = b"", close: bool = True, bodiless: bool = False) -> bytes:
    """A whole answer that says what is wrong; `bodiless` for HEAD."""
    body = msgspec.json.encode(Problem(HTTPStatus(status).phrase, status, detail))
    lines = [STATUS_LINES[status], b"content-type: application/problem+json"]
    lines.append(b"content-length: %d" % len(body))
    if request_id:
        lines.append(b"x-request-id: " + request_id)
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if bodiless else body)
