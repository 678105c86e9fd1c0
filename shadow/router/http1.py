"""HTTP/1.1, read strictly: what is ambiguous is refused, never guessed and never passed on (RFC 9112; DESIGN §5).

The grammar is httptools' (llhttp, lenient flags off); here stand the rules that it leaves open. For now requests are
GET and their bodies framed by Content-Length; answers are held whole, and those that an upstream sends in chunks, or
ends by closing, leave here with their length. Next module: `shadow.router.headers`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

import httptools
import msgspec

HEAD_BYTES: Final = 32 << 10
"""Longest request head."""
BODY_BYTES: Final = 64 << 10
"""Longest request body."""
ANSWER_BYTES: Final = 8 << 20
"""Longest answer of an upstream."""
REASONS: Final = {
    400: "Bad Request",
    404: "Not Found",
    408: "Request Timeout",
    413: "Content Too Large",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_HOST: Final = re.compile(rb"[A-Za-z0-9._~%-]+(:[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{0,5})?")
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
    """One request, whole."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    keep_alive: bool


class RequestReader:
    """Cuts a stream of bytes into requests; `feed` raises `RefusalError` for the first that is not served."""

    def __init__(self) -> None:
        self.complete: deque[Request] = deque()
        self._endless_bytes = 0
        self._fresh()
        self._parser = httptools.HttpRequestParser(self)

    def _fresh(self) -> None:
        self._target = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._in_head = False
        self._refusal: RefusalError | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes; complete requests go to `complete`."""
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise RefusalError(501, "upgrades and CONNECT are not supported") from None
        except httptools.HttpParserError as error:
            raise self._refusal or _meaning(error) from None
        # A header that never ends reaches no callback, so what comes in the middle of a head is counted here.
        self._endless_bytes = self._endless_bytes + len(data) if was_in_head and self._in_head else 0
        if self._endless_bytes > HEAD_BYTES:
            raise RefusalError(431, f"the request's head is longer than {HEAD_BYTES} bytes")

    @property
    def idle(self) -> bool:
        """Whether the bytes so far end with a whole request: nothing of a next one has come."""
        return not self._in_head and not self._target

    def on_message_begin(self) -> None:  # noqa: D102 - httptools' callbacks
        self._fresh()
        self._in_head = True

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._target += url
        self._head_bytes += len(url)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(431, f"the request's target is longer than {HEAD_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        self._headers.append((name.lower(), value))
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES:
            self._refuse(431, f"the request's head is longer than {HEAD_BYTES} bytes")

    def on_headers_complete(self) -> None:  # noqa: D102
        self._in_head = False
        method, version = self._parser.get_method(), self._parser.get_http_version()
        names = [name for name, _ in self._headers]
        if version not in ("1.1", "1.0"):
            self._refuse(400, f"HTTP/{version} is not spoken here, HTTP/1.1 is")
        hosts = [value for name, value in self._headers if name == b"host"]
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            self._refuse(400, "exactly one Host header with one host is needed")
        if b"transfer-encoding" in names:
            self._refuse(501, "a request body must be framed by Content-Length")
        if method == b"CONNECT" or b"upgrade" in names:
            self._refuse(501, "upgrades and CONNECT are not supported")
        if method != b"GET":
            self._refuse(501, f"method {method.decode('latin-1')} is not supported yet, only GET")
        if b"expect" in names:
            self._refuse(417, "expectations are not supported; send the body at once")
        if not self._target.startswith(b"/") or b"#" in self._target:
            self._refuse(400, "the target must be a path, without a fragment")
        # HTTP/1.0 knows persistence only by an extension; it gets one answer per connection.
        self._keep_alive = version == "1.1" and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > BODY_BYTES:
            self._refuse(413, f"the request's body is longer than {BODY_BYTES} bytes")

    def on_message_complete(self) -> None:  # noqa: D102
        request = Request(b"GET", self._target, self._headers, b"".join(self._body), self._keep_alive)
        self._fresh()
        self.complete.append(request)

    def _refuse(self, status: int, detail: str) -> None:
        # httptools wraps what a callback raises; the refusal is kept so that `feed` can raise it as it is.
        self._refusal = self._refusal or RefusalError(status, detail)
        raise self._refusal


def _meaning(error: httptools.HttpParserError) -> RefusalError:
    text = str(error) or type(error).__name__
    return RefusalError(
        501 if "method" in text.lower() and "http/" not in text.lower() else 400, f"not HTTP/1.1: {text}"
    )


class AnswerReader:
    """Reads one answer of an upstream; `done` once it is whole, `error` once it cannot become whole."""

    __slots__ = (
        "_body",
        "_bytes",
        "_head_bytes",
        "_in_body",
        "_length",
        "_parser",
        "chunked",
        "done",
        "error",
        "headers",
        "keep_alive",
    )

    def __init__(self) -> None:
        self.headers: Headers = []
        self.done = False
        self.error = ""
        self.keep_alive = False
        self.chunked = False
        self._body: list[bytes] = []
        self._bytes = 0
        self._head_bytes = 0
        self._in_body = False
        self._length = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def status(self) -> int:
        """The status; 0 before it came."""
        return int(self._parser.get_status_code())

    @property
    def body(self) -> bytes:
        """The body, decoded from chunks."""
        return b"".join(self._body)

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.error = self.error or "garbage"
        if not self._in_body and not self.done:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.error = self.error or "too_large"

    def end(self) -> None:
        """The upstream closed in order: whole if the answer was framed by that, short otherwise."""
        if not self.done:
            self.done = self._in_body and not self._length and not self.chunked and not self.error
            self.error = self.error or ("" if self.done else "short")

    def on_message_begin(self) -> None:  # noqa: D102 - httptools' callbacks
        if self.done:
            # Bytes after a whole answer belong to nobody: the connection must not be used again.
            self.keep_alive = False
            self._stop("extra")
        self.headers = []
        self._length = self.chunked = False

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        name = name.lower()
        self.headers.append((name, value))
        self._length = self._length or name == b"content-length"
        self.chunked = self.chunked or name == b"transfer-encoding"

    def on_headers_complete(self) -> None:  # noqa: D102
        self._in_body = self.status >= 200
        self.keep_alive = self._parser.should_keep_alive()
        if self._length and self.chunked:
            self._stop("garbage")

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self._bytes += len(body)
        if self._bytes > ANSWER_BYTES:
            self._stop("too_large")
        self._body.append(body)

    def on_message_complete(self) -> None:  # noqa: D102
        if self.status >= 200:
            self.done = True

    def _stop(self, error: str) -> None:
        if not self.done:
            self.error = error
        raise ValueError(error)


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details, as the router answers them."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def problem(status: int, detail: str, request_id: bytes = b"", close: bool = True) -> bytes:
    """A whole answer that says what is wrong."""
    body = msgspec.json.encode(Problem(REASONS[status], status, detail))
    lines = [b"HTTP/1.1 %d %s" % (status, REASONS[status].encode()), b"content-type: application/problem+json"]
    lines.append(b"content-length: %d" % len(body))
    if request_id:
        lines.append(b"x-request-id: " + request_id)
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
