"""An upstream's answers, read strictly, one after the other on one connection; bodies leave in parts as they come.

Next module: `shadow.router.headers`, what is passed on of them.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import httptools

from shadow.router.http1 import CHUNKED, HEAD_BYTES, Headers

UNTIL_CLOSE: Final = -2
"""The length of a body that ends with its connection."""
_RULING: Final = frozenset({b"content-length", b"transfer-encoding", b"connection", b"content-encoding"})
MOST_INTERIM: Final = 16
"""Interim answers (1xx) before the answer; more are garbage."""
MOST_HEADERS: Final = 256
"""Headers of an answer; more are garbage."""


class AnswerReader:
    """Reads one answer after the other; `expect` makes it ready for the next.

    `begun` once the head came, `done` once the answer is whole, `error` (a token of `shadow.contracts.Answer`) once it
    cannot become whole. `take` gives the parts of the body that came since. An answer of more than `most_parts` chunks
    and trailers is garbage: each costs a call, and a read full of them would hold up all that this loop serves.
    """

    __slots__ = (
        "_codings",
        "_head_bytes",
        "_head_only",
        "_lengths",
        "_most_parts",
        "_parser",
        "_parts",
        "_parts_left",
        "begun",
        "done",
        "error",
        "has_connection",
        "headers",
        "interim",
        "is_encoded",
        "keep_alive",
        "length",
        "status",
    )

    def __init__(self, most_parts: int = sys.maxsize) -> None:
        self._most_parts = most_parts
        self._parser: Any = httptools.HttpResponseParser(self)
        self.expect(False)

    def expect(self, head_only: bool) -> None:
        """Be ready for an answer; `head_only` for one to a HEAD request, which has no body whatever its head says."""
        self.status = 0
        self.headers: Headers = []
        self.length = UNTIL_CLOSE
        """Bytes of the body, `CHUNKED` or `UNTIL_CLOSE`."""
        self.interim: list[tuple[int, Headers]] = []
        self.begun = self.done = self.keep_alive = False
        self.is_encoded = False
        """Whether the body is compressed, say."""
        self.has_connection = False
        """Whether there is a Connection header."""
        self.error = ""
        self._head_only = head_only
        self._head_bytes = 0
        self._parts_left = self._most_parts
        self._parts: list[bytes] = []
        self._lengths: list[bytes] = []
        self._codings: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # What comes after a whole answer belongs to nobody: the connection must not be used again.
            self.keep_alive = False
            if not self.done:
                self.error = self.error or "garbage"
        if not self.begun:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.error = self.error or "too_large"

    def take(self) -> bytes:
        """What came of the body since the last call, decoded from chunks."""
        parts = self._parts
        if not parts:
            return b""
        self._parts = []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def end(self) -> None:
        """The upstream closed in order: whole if the answer was framed by that, short otherwise."""
        if not self.done:
            self.done = self.begun and self.length == UNTIL_CLOSE and not self.error
            self.error = self.error or ("" if self.done else "short")

    def close(self) -> None:
        """Read no more. Reader and parser know each other: without this only the collector would free them."""
        self._parser = None

    def on_message_begin(self) -> None:  # noqa: D102 - httptools' callbacks
        if self.done:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: D102
        if self.begun:
            self._parts_left -= 1
            if self._parts_left < 0:
                raise ValueError("too many trailers")
            return  # a trailer: it ends at this hop
        if len(self.headers) >= MOST_HEADERS:
            raise ValueError("too many headers")
        name = name.lower()
        self.headers.append((name, value))
        if name in _RULING:
            if name == b"content-length":
                self._lengths.append(value.rstrip(b" \t"))  # llhttp leaves the white space behind a value
            elif name == b"transfer-encoding":
                self._codings.append(value.lower())
            elif name == b"content-encoding":
                self.is_encoded = self.is_encoded or value.strip().lower() not in (b"", b"identity")
            else:
                self.has_connection = True

    def on_headers_complete(self) -> None:  # noqa: D102
        status = self._parser.get_status_code()
        if status < 200:
            self._interim(status)
            return
        if (self._lengths and self._codings) or self._codings not in ([], [b"chunked"]) or len(self._lengths) > 1:
            raise ValueError("framed ambiguously")
        if self._lengths and not self._lengths[0].isdigit():
            raise ValueError("Content-Length is no number")
        self.begun = True
        self.status = status
        self.length = CHUNKED if self._codings else int(self._lengths[0]) if self._lengths else UNTIL_CLOSE
        self.keep_alive = self._parser.should_keep_alive()
        if self._head_only:
            # llhttp would wait for a body: it is told nothing more, the next answer gets a new parser.
            self.done = True
            self.keep_alive = self._parser.get_http_version() == "1.1" and not _closes(self.headers)
            self._parser = httptools.HttpResponseParser(self)
        elif status in (204, 304):
            self.length = 0

    def on_body(self, body: bytes) -> None:  # noqa: D102
        if self.done:
            raise ValueError("a body that must not be")
        self._parts_left -= 1
        if self._parts_left < 0:
            raise ValueError("too many chunks")
        self._parts.append(body)

    def on_message_complete(self) -> None:  # noqa: D102
        if self.begun:
            self.done = True

    def _interim(self, status: int) -> None:
        if status < 100 or status == 101 or len(self.interim) >= MOST_INTERIM:
            raise ValueError(f"interim answer {status}")
        self.interim.append((status, self.headers))
        self.headers, self._lengths, self._codings = [], [], []


def _closes(headers: Headers) -> bool:
    return any(name == b"connection" and b"close" in value.lower() for name, value in headers)
