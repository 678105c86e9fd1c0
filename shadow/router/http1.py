"""HTTP/1.1, read strictly: what is ambiguous is refused, never guessed and never passed on (RFC 9112; DESIGN §5).

The grammar is httptools' (llhttp, lenient flags off); here stand the rules that it leaves open. For now requests are
GET, bodies are framed by Content-Length, and answers are held whole. Next module: `shadow.router.headers`.
"""

from __future__ import annotations

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
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
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
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise RefusalError(501, "upgrades and CONNECT are not supported") from None
        except httptools.HttpParserError as error:
            raise self._refusal or _meaning(error) from None
        if self._head_bytes > HEAD_BYTES:
            raise RefusalError(431, f"the request's head is longer than {HEAD_BYTES} bytes")

    @property
    def idle(self) -> bool:
        """Whether nothing of a next request has come yet."""
        return not self._in_head and not self._target and not self.complete

    def on_message_begin(self) -> None:  # noqa: D102 - httptools' callbacks
        self._fresh()
        self._in_head = True

    def on_url(self, url: bytes) -> None:  # noqa: D102
        self._target += url
        self._head_bytes += len(url)

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
        if names.count(b"host") != 1:
            self._refuse(400, "exactly one Host header is needed")
        if b"transfer-encoding" in names:
            self._refuse(501, "a request body must be framed by Content-Length")
        if method == b"CONNECT" or b"upgrade" in names:
            self._refuse(501, "upgrades and CONNECT are not supported")
        if method != b"GET":
            self._refuse(501, f"method {method.decode('latin-1')} is not supported yet, only GET")
        if not self._target.startswith(b"/"):
            self._refuse(400, "the target must be a path")
        self._keep_alive = self._parser.should_keep_alive()

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
        "_answers",
        "_body",
        "_bytes",
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
        self._answers = 0
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

    def end(self) -> None:
        """The upstream closed: whole if the answer was framed by that, short otherwise."""
        if not self.done:
            framed_by_close = (
                self._answers and self.headers and not self._length and not self.chunked and not self.error
            )
            self.done = bool(framed_by_close)
            self.error = self.error or ("" if self.done else "short")

    def on_message_begin(self) -> None:  # noqa: D102 - httptools' callbacks
        if self.done:
            # Bytes after a whole answer belong to nobody: the connection must not be used again.
            self.keep_alive = False
            self._stop("extra")
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        name = name.lower()
        self.headers.append((name, value))
        self._length = self._length or name == b"content-length"
        self.chunked = self.chunked or name == b"transfer-encoding"

    def on_headers_complete(self) -> None:  # noqa: D102
        self._answers += 1
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


def problem(status: int, detail: str, close: bool = True) -> bytes:
    """A whole answer that says what is wrong."""
    body = msgspec.json.encode(Problem(REASONS[status], status, detail))
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/problem+json\r\n"
    ending = f"content-length: {len(body)}\r\n{'connection: close' + chr(13) + chr(10) if close else ''}\r\n"
    return (head + ending).encode() + body
