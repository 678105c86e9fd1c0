"""What is passed on and what is not: heads for the primary, for the arms, and for the answer.

Hop-by-hop headers end here (RFC 9110 §7.6.1). An arm is less trusted than the primary: it gets an allow-list, so no
credentials, and a marker. Next module: `shadow.router.upstream`, which sends them.
"""

from __future__ import annotations

import re
import uuid
from http import HTTPStatus
from typing import Final

from shadow.router.http1 import AnswerReader, Headers, Request

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
REQUEST_ID: Final = b"x-request-id"
EVENT_TIME: Final = b"x-understudy-event-time"
ARM: Final = b"x-understudy-arm"
EXPERIMENT: Final = b"x-understudy-experiment"
HOPS: Final = b"x-understudy-hops"
MARKERS: Final = frozenset({ARM, EXPERIMENT, HOPS})
TO_ARMS: Final = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"content-type",
        b"host",
        b"traceparent",
        b"tracestate",
        b"user-agent",
        EVENT_TIME,
    }
)
"""All that an arm gets of a user's headers, besides the request id."""
_REQUEST_ID_FORM: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def value_of(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header."""
    for each, value in headers:
        if each == name:
            return value
    return None


def request_id_of(request: Request) -> bytes:
    """The client's request id when it is one plain token of at most 128 characters, else a new one."""
    given = value_of(request.headers, REQUEST_ID)
    return given if given and _REQUEST_ID_FORM.fullmatch(given) else uuid.uuid4().hex.encode()


def hops_of(request: Request) -> int:
    """How many routers copied this request before: 0 for a user's own."""
    given = value_of(request.headers, HOPS)
    return int(given) if given and given.isdigit() and len(given) < 4 else 0


def event_time_of(request: Request, arrival_us: int) -> int:
    """The logical time in the header, else the arrival; microseconds since the epoch."""
    given = value_of(request.headers, EVENT_TIME)
    return int(given) if given and given.isdigit() and len(given) < 18 else arrival_us


def to_primary(request: Request, request_id: bytes, client: bytes) -> bytes:
    """The request as the primary gets it: re-serialised, hop-by-hop headers and markers removed."""
    listed = _connection_listed(request.headers)
    lines = [b"GET " + request.target + b" HTTP/1.1"]
    forwarded = client
    for name, value in request.headers:
        if name == b"x-forwarded-for":
            forwarded = value + b", " + forwarded
        elif name not in HOP_BY_HOP and name not in MARKERS and name not in listed and name not in _REWRITTEN:
            lines.append(name + b": " + value)
    lines += [REQUEST_ID + b": " + request_id, b"x-forwarded-for: " + forwarded, b"x-forwarded-proto: http"]
    return _whole(lines, request.body)


def to_arm(request: Request, request_id: bytes, arm: str, experiment: str) -> bytes:
    """The copy as an arm gets it: allowed headers, and the marker with one hop more."""
    listed = _connection_listed(request.headers)
    lines = [b"GET " + request.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers if name in TO_ARMS and name not in listed]
    lines += [REQUEST_ID + b": " + request_id, ARM + b": " + arm.encode(), EXPERIMENT + b": " + experiment.encode()]
    lines.append(HOPS + b": %d" % (hops_of(request) + 1))
    return _whole(lines, request.body)


def to_client(answer: AnswerReader, request_id: bytes, close: bool) -> bytes:
    """The primary's answer, re-serialised with its length."""
    listed = _connection_listed(answer.headers)
    lines = [b"HTTP/1.1 %d %s" % (answer.status, _REASONS.get(answer.status, b""))]
    given = False
    for name, value in answer.headers:
        if name not in HOP_BY_HOP and name not in listed and name != b"content-length":
            lines.append(name + b": " + value)
            given = given or name == REQUEST_ID
    if not given:
        lines.append(REQUEST_ID + b": " + request_id)
    body = answer.body
    if answer.status not in (204, 304):
        lines.append(b"content-length: %d" % len(body))
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_REASONS: Final = {int(status): status.phrase.encode() for status in HTTPStatus}
_REWRITTEN: Final = frozenset({REQUEST_ID, b"content-length", b"x-forwarded-proto"})


def _whole(lines: list[bytes], body: bytes) -> bytes:
    if body:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _connection_listed(headers: Headers) -> frozenset[bytes]:
    """Headers that a Connection header declares hop-by-hop; `host` cannot be made to disappear."""
    named = [value for name, value in headers if name == b"connection"]
    if not named:
        return frozenset()
    return frozenset(token.strip().lower() for value in named for token in value.split(b",")) - {b"host"}
