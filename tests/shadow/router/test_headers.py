"""Heads as they leave: for the primary, for an arm, for the client. Read back with h11, which we did not write."""

from __future__ import annotations

import h11
import pytest

from shadow.router.answers import UNTIL_CLOSE, AnswerReader
from shadow.router.config import Arm
from shadow.router.headers import ArmHeaders, event_time_of, hops_of, request_id_of, to_client, to_primary
from shadow.router.http1 import CHUNKED, Headers, Request


def asked(*headers: tuple[bytes, bytes], method: bytes = b"GET", length: int = 0, is_http10: bool = False) -> Request:
    every = [(b"host", b"reco"), *headers]
    return Request(method, b"/recommend?user_id=1", every, dict(reversed(every)), length, True, is_http10)


def copied(request: Request, body: bytes = b"", extra: tuple[str, ...] = (), **arm: object) -> bytes:
    arms = Arm(name="shadow", url="http://a:1", **arm)  # type: ignore[arg-type]
    return ArmHeaders.of(arms, "demo", extra).copy(request, b"id-1", body)


def seen(raw: bytes) -> tuple[h11.Request, Headers, bytes]:
    """What h11 makes of a request."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    head = connection.next_event()
    assert isinstance(head, h11.Request)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data[0] == b""
    return head, [(bytes(name), bytes(value)) for name, value in head.headers], body


def test_the_primary_gets_the_request_without_what_is_for_one_hop_only() -> None:
    request = asked(
        (b"accept", b"*/*"),
        (b"authorization", b"Bearer x"),
        (b"connection", b"keep-alive, X-Private, Host"),
        (b"x-private", b"1"),
        (b"keep-alive", b"5"),
        (b"te", b"trailers"),
        (b"x-understudy-hops", b"3"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"content-length", b"3"),
        length=3,
    )
    head, headers, body = seen(to_primary(request, b"id-1", b"10.0.0.2") + b"abc")
    assert (head.method, head.target, body) == (b"GET", b"/recommend?user_id=1", b"abc")
    assert headers == [
        (b"host", b"reco"),
        (b"accept", b"*/*"),
        (b"authorization", b"Bearer x"),
        (b"x-request-id", b"id-1"),
        (b"x-forwarded-for", b"10.0.0.1, 10.0.0.2"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"reco"),
        (b"content-length", b"3"),
    ]


def test_what_an_ingress_said_about_the_client_stays() -> None:
    request = asked((b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"shop"), method=b"POST", length=CHUNKED)
    raw = to_primary(request, b"id-1", b"10.0.0.2")
    _, headers, body = seen(raw + b"2\r\nab\r\n0\r\n\r\n")
    assert [value for name, value in headers if name.startswith(b"x-forwarded-")] == [b"10.0.0.2", b"https", b"shop"]
    assert (b"transfer-encoding", b"chunked") in headers
    assert body == b"ab"


def test_addresses_on_several_lines_stay_in_the_order_of_the_hops() -> None:
    request = asked((b"x-forwarded-for", b"6.6.6.6"), (b"accept", b"*/*"), (b"x-forwarded-for", b"10.0.0.1, 10.0.0.9"))
    _, headers, _ = seen(to_primary(request, b"id-1", b"10.0.0.2"))
    told = [value for name, value in headers if name == b"x-forwarded-for"]
    assert told == [b"6.6.6.6, 10.0.0.1, 10.0.0.9, 10.0.0.2"]


def test_a_post_without_a_body_says_so() -> None:
    assert b"content-length: 0" in to_primary(asked(method=b"POST"), b"id-1", b"10.0.0.2")


def test_an_arm_gets_the_allowed_headers_and_the_marker_with_one_hop_more() -> None:
    request = asked(
        (b"user-agent", b"test"),
        (b"cookie", b"session=1"),
        (b"x-anything", b"else"),
        (b"x-understudy-event-time", b"42"),
        (b"x-understudy-hops", b"2"),
        (b"x-understudy-experiment", b"forged"),
    )
    _, headers, _ = seen(copied(request))
    assert headers == [
        (b"host", b"reco"),
        (b"user-agent", b"test"),
        (b"x-understudy-event-time", b"42"),
        (b"x-request-id", b"id-1"),
        (b"x-understudy-hops", b"3"),
        (b"x-understudy-arm", b"shadow"),
        (b"x-understudy-experiment", b"demo"),
    ]


def test_an_arm_may_have_its_own_path_host_and_headers_and_a_body_has_its_length() -> None:
    request = asked((b"x-tenant", b"7"), (b"authorization", b"secret"), method=b"POST", length=CHUNKED)
    raw = copied(
        request,
        b"abc",
        extra=("X-Tenant",),
        host="shadow.svc:80",
        paths={"/recommend": "/v2/recommend"},
        headers={"Authorization": "Bearer its-own"},
    )
    head, headers, body = seen(raw)
    assert (head.method, head.target, body) == (b"POST", b"/v2/recommend?user_id=1", b"abc")
    assert dict(headers) == {
        b"host": b"shadow.svc:80",
        b"x-tenant": b"7",
        b"authorization": b"Bearer its-own",
        b"x-request-id": b"id-1",
        b"x-understudy-hops": b"1",
        b"x-understudy-arm": b"shadow",
        b"x-understudy-experiment": b"demo",
        b"content-length": b"3",
    }


@pytest.mark.parametrize(
    ("raw", "is_http10", "framing", "head"),
    [
        (b"content-length: 2", False, 2, [(b"content-length", b"2")]),
        (b"content-length: 002", False, 2, [(b"content-length", b"2")]),
        (b"transfer-encoding: chunked", False, CHUNKED, [(b"transfer-encoding", b"chunked")]),
        (b"x: y", False, CHUNKED, [(b"x", b"y"), (b"transfer-encoding", b"chunked")]),
        (b"transfer-encoding: chunked", True, UNTIL_CLOSE, []),
        (b"content-length: 2", True, 2, [(b"content-length", b"2")]),
    ],
)
def test_the_answer_is_framed_for_the_client_whatever_the_primary_did(
    raw: bytes, is_http10: bool, framing: int, head: Headers
) -> None:
    answer = AnswerReader()
    answer.feed(b"HTTP/1.1 200 OK\r\nkeep-alive: 5\r\n" + raw + b"\r\n\r\n")
    told, how = to_client(answer, asked(is_http10=is_http10), b"id-1", close=True)
    assert how == framing
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "reco")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(told)
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    assert (response.status_code, bytes(response.reason)) == (200, b"OK")
    headers = {bytes(name): bytes(value) for name, value in response.headers}
    assert headers == {b"x-request-id": b"id-1", b"connection": b"close"} | dict(head)


def test_what_the_primary_says_of_its_own_connection_does_not_reach_the_client() -> None:
    answer = AnswerReader()
    answer.feed(
        b"HTTP/1.1 204 No Content\r\nconnection: x-own\r\nX-Own: 1\r\nx-other: 2\r\nconnection: Y-Own, close\r\n"
    )
    answer.feed(b"y-own: 3\r\nkeep-alive: 5\r\n\r\n")
    told, _ = to_client(answer, asked(), b"ours", close=False)
    assert told == b"HTTP/1.1 204 No Content\r\nx-other: 2\r\nx-request-id: ours\r\n\r\n"


@pytest.mark.parametrize("length", [b"", b"content-length: 0\r\n", b"content-length: 7\r\n"])
def test_an_answer_without_content_has_no_length_and_keeps_its_own_request_id(length: bytes) -> None:
    answer = AnswerReader()
    answer.feed(b"HTTP/1.1 204 No Content\r\n" + length + b"x-request-id: theirs\r\n\r\n")
    told, framing = to_client(answer, asked(), b"ours", close=False)
    assert (told, framing) == (b"HTTP/1.1 204 No Content\r\nx-request-id: theirs\r\n\r\n", 0)


def test_an_answer_that_is_not_modified_keeps_the_length_of_what_it_stands_for() -> None:
    answer = AnswerReader()
    answer.feed(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n")
    told, framing = to_client(answer, asked(), b"ours", close=False)
    assert (told, framing) == (
        b"HTTP/1.1 304 Not Modified\r\nx-request-id: ours\r\ncontent-length: 7\r\n\r\n",
        0,
    )


@pytest.mark.parametrize(
    ("given", "kept"), [(b"abc-1.2:3_4", True), (b"", False), (b"two words", False), (b"x" * 129, False), (b'"', False)]
)
def test_a_request_id_is_kept_when_it_is_one_plain_token(given: bytes, kept: bool) -> None:
    got = request_id_of(asked((b"x-request-id", given)))
    assert (got == given) is kept
    assert kept or len(got) == 32


@pytest.mark.parametrize(("given", "expected"), [(b"42", 42), (b"-1", 7), (b"soon", 7), (b"9" * 30, 7)])
def test_an_event_time_that_is_no_microseconds_is_the_arrival(given: bytes, expected: int) -> None:
    assert event_time_of(asked((b"x-understudy-event-time", given)), 7) == expected


def test_hops_that_are_no_number_are_none() -> None:
    assert hops_of(asked((b"x-understudy-hops", b"many"))) == 0
    assert hops_of(asked((b"x-understudy-hops", b"2"))) == 2
