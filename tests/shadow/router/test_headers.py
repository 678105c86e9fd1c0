"""Heads as they leave: for the primary, for an arm, for the client. Read back with h11, which we did not write."""

from __future__ import annotations

import h11
import pytest

from shadow.router.headers import event_time_of, hops_of, request_id_of, to_arm, to_client, to_primary
from shadow.router.http1 import AnswerReader, Headers, Request


def asked(*headers: tuple[bytes, bytes], body: bytes = b"") -> Request:
    return Request(b"GET", b"/recommend?user_id=1", [(b"host", b"reco"), *headers], body, True)


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
        body=b"abc",
    )
    head, headers, body = seen(to_primary(request, b"id-1", b"10.0.0.2"))
    assert (head.method, head.target, body) == (b"GET", b"/recommend?user_id=1", b"abc")
    assert headers == [
        (b"host", b"reco"),
        (b"accept", b"*/*"),
        (b"authorization", b"Bearer x"),
        (b"x-request-id", b"id-1"),
        (b"x-forwarded-for", b"10.0.0.1, 10.0.0.2"),
        (b"x-forwarded-proto", b"http"),
        (b"content-length", b"3"),
    ]


def test_an_arm_gets_the_allowed_headers_and_the_marker_with_one_hop_more() -> None:
    request = asked(
        (b"user-agent", b"test"),
        (b"cookie", b"session=1"),
        (b"x-anything", b"else"),
        (b"x-understudy-event-time", b"42"),
        (b"x-understudy-hops", b"2"),
        (b"x-understudy-experiment", b"forged"),
    )
    _, headers, _ = seen(to_arm(request, b"id-1", "shadow", "demo"))
    assert headers == [
        (b"host", b"reco"),
        (b"user-agent", b"test"),
        (b"x-understudy-event-time", b"42"),
        (b"x-request-id", b"id-1"),
        (b"x-understudy-arm", b"shadow"),
        (b"x-understudy-experiment", b"demo"),
        (b"x-understudy-hops", b"3"),
    ]


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-model-version: 7\r\nkeep-alive: 5\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-model-version: 7\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
    ],
)
def test_the_client_gets_the_answer_with_its_length_however_it_was_framed(raw: bytes, body: bytes) -> None:
    answer = AnswerReader()
    answer.feed(raw)
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "reco")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(to_client(answer, b"id-1", close=True))
    head, data = connection.next_event(), connection.next_event()
    assert isinstance(head, h11.Response)
    assert isinstance(data, h11.Data)
    assert (head.status_code, bytes(head.reason), bytes(data.data)) == (200, b"OK", body)
    assert [(bytes(name), bytes(value)) for name, value in head.headers] == [
        (b"x-model-version", b"7"),
        (b"x-request-id", b"id-1"),
        (b"content-length", b"2"),
        (b"connection", b"close"),
    ]


def test_an_answer_without_content_has_no_length_and_keeps_its_own_request_id() -> None:
    answer = AnswerReader()
    answer.feed(b"HTTP/1.1 204 No Content\r\nx-request-id: theirs\r\n\r\n")
    assert to_client(answer, b"ours", close=False) == b"HTTP/1.1 204 No Content\r\nx-request-id: theirs\r\n\r\n"


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
