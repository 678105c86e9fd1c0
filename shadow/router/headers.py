"""What is passed on and what is not: heads for the primary, for the arms, and for the answer.

Hop-by-hop headers end here (RFC 9110 §7.6.1). An arm is less trusted than the primary: it gets an allow-list, so no
credentials, and a marker. Next module: `shadow.router.resolver`, the addresses of upstreams.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import count
from typing import Final

from shadow.router.answers import UNTIL_CLOSE, AnswerReader
from shadow.router.config import Arm
from shadow.router.http1 import CHUNKED, EVENT_TIME, HOPS, REQUEST_ID, STATUS_LINES, Headers, Request

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
ARM: Final = b"x-understudy-arm"
EXPERIMENT: Final = b"x-understudy-experiment"
MARKERS: Final = frozenset({ARM, EXPERIMENT, HOPS})
TO_ARMS: Final = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"content-encoding",
        b"content-type",
        b"host",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        EVENT_TIME,
    }
)
"""All that an arm gets of a user's headers, besides the request id and what the configuration adds."""
_REQUEST_ID_FORM: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_NOT_TO_PRIMARY: Final = HOP_BY_HOP | MARKERS | _FORWARDED | {REQUEST_ID, b"content-length"}
_NOT_TO_CLIENT: Final = HOP_BY_HOP | {b"content-length"}
_OWN_IDS: Final = (os.urandom(10).hex().encode() + b"%012x" % number for number in count())
"""80 random bits of this process, then a number: as unique as a random id, and no call of the system for each."""


def request_id_of(request: Request) -> bytes:
    """The client's request id when it is one plain token of at most 128 characters, else a new one."""
    given = request.known.get(REQUEST_ID)
    return given if given and _REQUEST_ID_FORM.fullmatch(given) else next(_OWN_IDS)


def hops_of(request: Request) -> int:
    """How many routers copied this request before: 0 for a user's own."""
    given = request.known.get(HOPS)
    return int(given) if given and given.isdigit() and len(given) < 4 else 0


def event_time_of(request: Request, arrival_us: int) -> int:
    """The logical time in the header, else the arrival; microseconds since the epoch."""
    given = request.known.get(EVENT_TIME)
    return int(given) if given and given.isdigit() and len(given) < 18 else arrival_us


def to_primary(request: Request, request_id: bytes, client: bytes) -> bytes:
    """The head as the primary gets it: re-serialised, hop-by-hop headers and markers removed.

    X-Forwarded-For gets the client's address appended; -Proto and -Host stay as an ingress set them.
    """
    dropped = _NOT_TO_PRIMARY
    if b"connection" in request.known:
        dropped = dropped | _connection_listed(request.headers)
    lines = [b"%b %b HTTP/1.1" % (request.method, request.target)]
    forwarded, proto, host = b"", b"http", request.known[b"host"]
    for name, value in request.headers:
        if name in dropped:
            if name == b"x-forwarded-for":
                forwarded += value + b", "  # several lines are one list, the nearest hop at its end
            elif name == b"x-forwarded-proto":
                proto = value
            elif name == b"x-forwarded-host":
                host = value
        else:
            lines.append(b"%b: %b" % (name, value))
    lines.append(
        b"x-request-id: %b\r\nx-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b"
        % (request_id, forwarded + client, proto, host)
    )
    if request.length == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    elif request.length or request.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"content-length: %d" % request.length)
    return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass(frozen=True)
class ArmHeaders:
    """What the configuration makes of the copies of one arm."""

    allowed: frozenset[bytes]
    always: bytes
    """Header lines that do not depend on the request."""
    paths: dict[bytes, bytes]

    @staticmethod
    def of(arm: Arm, experiment: str, extra: tuple[str, ...]) -> ArmHeaders:
        """From the arm's configuration; `extra` are headers that are copied besides `TO_ARMS`."""
        allowed = TO_ARMS | {name.lower().encode() for name in extra}
        fixed = {ARM.decode(): arm.name, EXPERIMENT.decode(): experiment}
        fixed |= {name.lower(): value for name, value in arm.headers.items()}
        if arm.host:
            fixed["host"] = arm.host
        always = "".join(f"{name}: {value}\r\n" for name, value in fixed.items()).encode("latin-1")
        paths = {path.encode(): other.encode() for path, other in arm.paths.items()}
        return ArmHeaders(allowed - {name.encode() for name in fixed}, always, paths)

    def copy(self, request: Request, request_id: bytes, body: bytes) -> bytes:
        """The copy as the arm gets it, whole: allowed headers, and the marker with one hop more."""
        allowed, target = self.allowed, request.target
        if b"connection" in request.known:
            allowed = allowed - _connection_listed(request.headers)
        if self.paths:
            path, mark, query = target.partition(b"?")
            target = self.paths.get(path, path) + mark + query
        lines = [b"%b %b HTTP/1.1" % (request.method, target)]
        lines += [b"%b: %b" % header for header in request.headers if header[0] in allowed]
        lines.append(b"x-request-id: %b\r\nx-understudy-hops: %d" % (request_id, hops_of(request) + 1))
        if request.length:
            lines.append(b"content-length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n" + self.always + b"\r\n" + body


def to_client(answer: AnswerReader, request: Request, request_id: bytes, close: bool) -> tuple[bytes, int]:
    """The answer's head for the client, and how the body that follows is framed.

    The framing is the number of bytes, `CHUNKED`, or `UNTIL_CLOSE` (HTTP/1.0 clients only).
    """
    status, framing = answer.status, answer.length
    dropped = _NOT_TO_CLIENT | _connection_listed(answer.headers) if answer.has_connection else _NOT_TO_CLIENT
    lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    told_id, told_length = False, None
    for name, value in answer.headers:
        if name == b"content-length":
            told_length = b"%d" % int(value)
        elif name not in dropped:
            lines.append(b"%b: %b" % (name, value))
            if name == REQUEST_ID:
                told_id = True
    if not told_id:
        lines.append(REQUEST_ID + b": " + request_id)
    if request.method == b"HEAD" or status in (204, 304):
        framing = 0
    elif framing < 0:
        framing = UNTIL_CLOSE if request.is_http10 else CHUNKED
    if framing == CHUNKED:
        lines.append(b"transfer-encoding: chunked")
    elif told_length is not None and status != 204:
        lines.append(b"content-length: " + told_length)
    if close or framing == UNTIL_CLOSE:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n", framing


def interim_to_client(status: int, headers: Headers) -> bytes:
    """An interim answer (1xx), passed on."""
    lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
    lines += [name + b": " + value for name, value in headers if name not in _NOT_TO_CLIENT]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _connection_listed(headers: Headers) -> frozenset[bytes]:
    """Headers that a Connection header declares hop-by-hop; `host` cannot be made to disappear."""
    named = [value for name, value in headers if name == b"connection"]
    return frozenset(token.strip().lower() for value in named for token in value.split(b",")) - {b"host"}
