"""What two parsers that are not ours read in the bytes that an upstream got: h11 and httptools (llhttp).

A router that smuggles nothing writes bytes in which both read the same requests; that is the oracle of the corpus, of
the fragmentation and of the fuzzing. `answers` reads the other direction: what a client got. Next module:
`tests.shadow.router.smuggling.capture`, where the bytes come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import h11
import httptools

HEAD_BYTES = 1 << 20
"""Heads longer than this are not read by h11 (its own limit is 16 KiB)."""
BREAKS_OFF = "peer closed connection without sending complete message body"
"""What h11 says of a body whose end does not come, and of nothing else."""
Headers = tuple[tuple[bytes, bytes], ...]


class UnreadableError(AssertionError):
    """Bytes in which a parser finds no HTTP/1.1, or the two parsers find different things."""


@dataclass(frozen=True)
class Reading:
    """One request as a parser read it; `whole` is false for the last one of a stream that was cut in its body."""

    method: bytes
    target: bytes
    headers: Headers
    """Names in lower case, values without the white space around them, in their order."""
    body: bytes
    trailers: Headers
    whole: bool

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.headers if each == name]


def requests_in(raw: bytes) -> list[Reading]:
    """The requests that both parsers read in what one connection carried; `UnreadableError` when they differ."""
    ours, theirs = by_h11(raw), by_httptools(raw)
    if ours != theirs:
        raise UnreadableError(f"h11 reads {ours}, httptools reads {theirs} in {raw!r}")
    return ours


def by_h11(raw: bytes) -> list[Reading]:
    found, error = _by_h11(raw)
    if error:
        raise UnreadableError(f"h11: {error} in {raw!r}")
    return found


def begun_by_h11(raw: bytes) -> list[Reading]:
    """The requests before the place, if there is one, where h11 objects."""
    return _by_h11(raw)[0]


def _by_h11(raw: bytes) -> tuple[list[Reading], str]:
    """The requests, and what h11 objects to behind them."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    connection.receive_data(raw)
    connection.receive_data(b"")
    found: list[Reading] = []
    while True:
        try:
            reading = _next_by_h11(connection)
        except h11.RemoteProtocolError as error:
            return found, str(error)
        if reading is None:
            return found, ""
        found.append(reading)
        if not reading.whole:
            return found, ""
        if reading.method == b"CONNECT":
            return found, "CONNECT, behind which stands no HTTP"
        connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is h11.MUST_CLOSE:
            return found, "bytes after the last request of a connection" if connection.trailing_data[0] else ""
        connection.start_next_cycle()


def _next_by_h11(connection: h11.Connection) -> Reading | None:
    """The next request; None at the end of the stream. A body that breaks off is no error here, a head is."""
    event = connection.next_event()
    if not isinstance(event, h11.Request):
        return None
    head, body = event, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            if BREAKS_OFF not in str(error):
                raise
            return Reading(bytes(head.method), bytes(head.target), _plain(head.headers), body, (), False)
        if isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            headers, trailers = _plain(head.headers), _plain(event.headers)
            return Reading(bytes(head.method), bytes(head.target), headers, body, trailers, True)


def _plain(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    return tuple((bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in headers)


@dataclass
class _Callbacks:
    """Collects what llhttp reads."""

    parser: httptools.HttpRequestParser = field(init=False)
    found: list[Reading] = field(default_factory=list)
    begun: bool = False
    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    in_body: bool = False

    def __post_init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.begun, self.in_body, self.target, self.body = True, False, b"", b""
        self.headers, self.trailers = [], []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        (self.trailers if self.in_body else self.headers).append((name, value))

    def on_headers_complete(self) -> None:
        self.in_body = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append(self.reading(True))
        self.begun = False

    def reading(self, whole: bool) -> Reading:
        trailers = _plain(self.trailers) if whole else ()
        return Reading(self.parser.get_method(), self.target, _plain(self.headers), self.body, trailers, whole)


def by_httptools(raw: bytes) -> list[Reading]:
    callbacks = _Callbacks()
    try:
        callbacks.parser.feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        raise UnreadableError(f"httptools: {type(error).__name__} {error} in {raw!r}") from error
    if callbacks.begun and not callbacks.in_body:
        raise UnreadableError(f"httptools: a head that breaks off in {raw!r}")
    return callbacks.found + ([callbacks.reading(False)] if callbacks.begun else [])


@dataclass(frozen=True)
class Answered:
    """One answer as a client read it; `whole` is false when the connection ended before the answer did."""

    status: int
    headers: Headers
    body: bytes
    interim: tuple[int, ...]
    whole: bool

    def value(self, name: bytes) -> bytes | None:
        return next((value for each, value in self.headers if each == name), None)


def answers_in(raw: bytes, methods: Sequence[bytes]) -> list[Answered]:
    """The answers to requests of these methods in all that a client got until the end of the connection.

    At most one more than `methods` is read (a refusal has no method of its own). `UnreadableError` for bytes that are
    no answer, and for bytes behind an answer that says it is the last.
    """
    found: list[Answered] = []
    for method in [*methods, b"GET"]:
        if not raw:
            break
        answered, raw, last = _answer_in(raw, method)
        found.append(answered)
        if last and raw:
            raise UnreadableError(f"bytes after the last answer of a connection: {raw!r}")
    if raw:
        raise UnreadableError(f"more answers than requests: {raw!r}")
    return found


def _answer_in(raw: bytes, method: bytes) -> tuple[Answered, bytes, bool]:
    """The first answer of `raw`, the rest, and whether the answer says that it is the last of its connection."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "reco"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    connection.receive_data(b"")
    head: h11.Response | None = None
    body, interim = b"", []
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
    except h11.RemoteProtocolError as error:
        if head is None:
            raise UnreadableError(f"no answer: {error} in {raw!r}") from error
        if BREAKS_OFF not in str(error):
            raise UnreadableError(f"broken answer: {error} in {raw!r}") from error
        return Answered(head.status_code, _plain(head.headers), body, tuple(interim), False), b"", True
    assert head is not None
    answered = Answered(head.status_code, _plain(head.headers), body, tuple(interim), True)
    return answered, connection.trailing_data[0], connection.their_state is h11.MUST_CLOSE or closes(answered)


def closes(answered: Answered) -> bool:
    """Whether the answer says that it is the last of its connection."""
    return b"close" in (answered.value(b"connection") or b"").lower()
