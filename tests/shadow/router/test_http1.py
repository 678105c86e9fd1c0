"""Strict reading: what is ambiguous is refused, what is whole is whole however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.router import http1
from shadow.router.http1 import AnswerReader, RefusalError, RequestReader

REFUSED = [
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", (400, 501)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", (400, 501)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3,3\r\n\r\nabc", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (501,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", (400, 501)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\nHost: a\n\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", (400,)),
    (b"GET /\r\n\r\n", (400,)),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501)),
    (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", (501,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", (501,)),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", (501,)),
    (b"GET http://elsewhere/ HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * http1.HEAD_BYTES + b"\r\n\r\n", (431,)),
    (b"GET /" + b"x" * (http1.HEAD_BYTES + 100) + b" HTTP/1.1\r\nHost: a\r\n\r\n", (431,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, (413,)),
    (b"\x16\x03\x01\x02\x00\x01\x00", (400, 501)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n", (400, 501)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (501,)),
    (b"GET / HTTP/1.1\rHost: a\r\r", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX\x00Y: 1\r\n\r\n", (400,)),
    (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
    (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
    (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", (400,)),
    (b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", (417,)),
    (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", (501,)),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", (501,)),
    (b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", (400, 501)),
]
"""Requests that are not served, with the statuses that may say so."""
GOOD = b"GET /recommend?user_id=1 HTTP/1.1\r\nHost: reco\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize(("raw", "status"), REFUSED)
def test_what_is_ambiguous_or_not_spoken_is_refused(raw: bytes, status: tuple[int, ...]) -> None:
    with pytest.raises(RefusalError) as caught:
        RequestReader().feed(raw)
    assert caught.value.status in status


def test_a_head_that_never_ends_is_refused_though_it_comes_slowly() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")

    def drip() -> None:
        for _ in range(http1.HEAD_BYTES // 1000 + 2):
            reader.feed(b"x" * 1000)

    with pytest.raises(RefusalError) as caught:
        drip()
    assert caught.value.status == 431


@given(st.lists(st.integers(1, 40), max_size=30))
def test_requests_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    reader, rest = RequestReader(), GOOD * 3
    for size in cuts:
        reader.feed(rest[:size])
        rest = rest[size:]
    if rest:
        reader.feed(rest)
    assert [request.target for request in reader.complete] == [b"/recommend?user_id=1"] * 3
    assert all(request.keep_alive for request in reader.complete)
    assert reader.complete[0].headers == [(b"host", b"reco"), (b"accept", b"*/*")]


def test_connection_close_and_http_1_0_end_the_connection() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert not reader.complete[0].keep_alive
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert not reader.complete[0].keep_alive


@given(st.lists(st.integers(1, 30), max_size=20), st.booleans())
def test_answers_are_the_same_however_the_stream_is_cut(cuts: list[int], chunked: bool) -> None:
    framed = (
        b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        if chunked
        else b"content-length: 5\r\n\r\nabcde"
    )
    reader, rest = AnswerReader(), b"HTTP/1.1 200 OK\r\n" + framed
    for size in cuts:
        if rest:
            reader.feed(rest[:size])
            rest = rest[size:]
    if rest:
        reader.feed(rest)
    assert (reader.done, reader.error, reader.status, reader.body) == (True, "", 200, b"abcde")
    assert reader.keep_alive


def test_an_answer_framed_by_the_close_is_whole_and_a_short_one_is_not() -> None:
    framed, cut = AnswerReader(), AnswerReader()
    framed.feed(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nall of it")
    assert not framed.done
    framed.end()
    assert (framed.done, framed.body) == (True, b"all of it")
    cut.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    cut.end()
    assert (cut.done, cut.error) == (False, "short")


def test_an_interim_answer_is_not_the_answer() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
    assert not reader.done
    reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert (reader.done, reader.status, reader.body) == (True, 200, b"ok")
