"""The oracle itself: it reads what is plain, and it does object to what is not."""

from __future__ import annotations

import pytest

from tests.shadow.router.smuggling.readings import Answered, Reading, UnreadableError, answers_in, requests_in

HOST = ((b"host", b"a"),)


def test_plain_requests_are_read_with_their_bodies_and_trailers() -> None:
    raw = (
        b"GET /a HTTP/1.1\r\nHost: a\r\nX:  b \r\n\r\n"
        b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n"
    )
    assert requests_in(raw) == [
        Reading(b"GET", b"/a", (*HOST, (b"x", b"b")), b"", (), True),
        Reading(b"POST", b"/b", (*HOST, (b"content-length", b"3")), b"abc", (), True),
        Reading(b"POST", b"/c", (*HOST, (b"transfer-encoding", b"chunked")), b"abc", ((b"t", b"u"),), True),
    ]


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", b"abc"),
        (b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"abc"),
        (b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    ],
)
def test_a_body_that_breaks_off_is_told_from_a_whole_one(raw: bytes, body: bytes) -> None:
    assert [(reading.body, reading.whole) for reading in requests_in(raw)] == [(body, False)]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x00",
    ],
)
def test_what_a_parser_cannot_read_or_the_two_read_differently_is_an_error(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        requests_in(raw)


def test_answers_are_read_by_the_methods_they_answer() -> None:
    length = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    raw = length + b"HTTP/1.1 103 Early Hints\r\n\r\n" + length + b"okHTTP/1.1 204 No Content\r\n\r\n"
    head = ((b"content-length", b"2"),)
    assert answers_in(raw, [b"HEAD", b"GET", b"GET"]) == [
        Answered(200, head, b"", (), True),
        Answered(200, head, b"ok", (103,), True),
        Answered(204, (), b"", (), True),
    ]


@pytest.mark.parametrize(
    ("raw", "body"),
    [(b"content-length: 3\r\n\r\nab", b"ab"), (b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n", b"ab")],
)
def test_an_answer_that_breaks_off_is_told_from_a_whole_one(raw: bytes, body: bytes) -> None:
    (answered,) = answers_in(b"HTTP/1.1 200 OK\r\n" + raw, [b"GET"])
    assert (answered.body, answered.whole) == (body, False)


@pytest.mark.parametrize(
    "raw",
    [
        b"no answer\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZ\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" * 3,
    ],
)
def test_what_is_no_answer_to_the_requests_is_an_error(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        answers_in(raw, [b"GET"])
