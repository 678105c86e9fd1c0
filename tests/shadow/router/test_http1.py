"""Strict reading: what is ambiguous is refused, what is whole is whole however it is cut."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.router import http1
from shadow.router.http1 import CHUNKED, RefusalError, Request, RequestReader
from tests.shadow.router.harness import in_pieces

REFUSED = [
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", (400, 501)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", (400, 501)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3,3\r\n\r\nabc", (400,)),
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
    (b"GET http://elsewhere/ HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * http1.HEAD_BYTES + b"\r\n\r\n", (431,)),
    (b"GET /" + b"x" * (http1.HEAD_BYTES + 100) + b" HTTP/1.1\r\nHost: a\r\n\r\n", (431,)),
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
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\nContent-Length: 3\r\n\r\n", (417,)),
    (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", (501,)),
    (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (400,)),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", (400,)),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n", (400,)),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", (400,)),
    (b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", (400, 501)),
]
"""Requests that are not served, with the statuses that may say so."""
GOOD = b"GET /recommend?user_id=1 HTTP/1.1\r\nHost: reco\r\nAccept: */*\r\n\r\n"


def heads(reader: RequestReader) -> list[Request]:
    return [event for event in reader.events if isinstance(event, Request)]


def drip(reader: RequestReader) -> None:
    """More than a head may have, slowly."""
    for _ in range(http1.HEAD_BYTES // 1000 + 2):
        reader.feed(b"x" * 1000)


@pytest.mark.parametrize(("raw", "status"), REFUSED)
def test_what_is_ambiguous_or_not_spoken_is_refused(raw: bytes, status: tuple[int, ...]) -> None:
    with pytest.raises(RefusalError) as caught:
        RequestReader().feed(raw)
    assert caught.value.status in status


@pytest.mark.parametrize("parts", [(b"GET /x\r\n",), (b"GE", b"T /x\r", b"\n"), (b"GET /x\n",), (b"\r\nGET /x\r\nHo",)])
def test_a_line_of_http_0_9_is_refused_when_it_ends_and_not_when_its_time_is_over(parts: tuple[bytes, ...]) -> None:
    reader = RequestReader()
    for part in parts[:-1]:
        reader.feed(part)
    with pytest.raises(RefusalError, match=r"HTTP/0\.9 is not spoken"):
        reader.feed(parts[-1])


def test_a_head_that_never_ends_is_refused_though_it_comes_slowly() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    with pytest.raises(RefusalError) as caught:
        drip(reader)
    assert caught.value.status == 431


@given(st.lists(st.integers(1, 40), max_size=30))
def test_requests_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    reader = RequestReader()
    in_pieces(GOOD * 3, cuts, reader.feed)
    assert [request.target for request in heads(reader)] == [b"/recommend?user_id=1"] * 3
    assert all(request.keep_alive for request in heads(reader))
    assert reader.idle
    assert heads(reader)[0].headers == [(b"host", b"reco"), (b"accept", b"*/*")]


def test_connection_close_and_http_1_0_end_the_connection() -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert not heads(reader)[0].keep_alive
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert not heads(reader)[0].keep_alive


@given(st.lists(st.integers(1, 40), max_size=30))
def test_a_body_in_chunks_is_the_same_however_the_stream_is_cut_and_its_trailers_end_here(cuts: list[int]) -> None:
    raw = (
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 9\r\nHost: b\r\n\r\n"
    )
    reader = RequestReader()
    in_pieces(raw, cuts, reader.feed)
    (head,) = heads(reader)
    assert (head.method, head.length, [name for name, _ in head.headers]) == (
        b"POST",
        CHUNKED,
        [b"host", b"transfer-encoding"],
    )
    assert b"".join(event for event in reader.events if isinstance(event, bytes)) == b"abcde"
    assert reader.events[-1] is None


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"1;ext="])
def test_framing_that_never_ends_is_refused(endless: bytes) -> None:
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + endless)
    with pytest.raises(RefusalError) as caught:
        drip(reader)
    assert caught.value.status == 431


PLAIN = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
RTSP = b"GET /x RTSP/1.0\r\nHost: a\r\n\r\n"
WITH_BODY = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
IN_CHUNKS = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX: RTSP/\r\n\r\n"
QUOTED = b"words\r\nPOST /x RTSP/1.0"
"""A body that says what its own request line would be."""


@pytest.mark.parametrize(
    ("raw", "served", "refused"),
    [
        (RTSP, 0, True),
        (b"\r\n" + RTSP, 0, True),
        (PLAIN + RTSP + PLAIN, 1, True),
        (PLAIN * 2 + b"GET /x  RTSP/1.1\r\nHost: a\r\n\r\n", 2, True),
        (WITH_BODY % (3, b"abc") + RTSP, 1, True),
        (WITH_BODY % (2, b"x:") + RTSP, 1, True),
        (WITH_BODY % (len(QUOTED), QUOTED) + PLAIN, 2, False),
        (WITH_BODY % (len(QUOTED), QUOTED) + RTSP, 1, True),
        (IN_CHUNKS % (len(QUOTED), QUOTED) + PLAIN, 2, False),
        (IN_CHUNKS % (len(QUOTED), QUOTED) + RTSP, 1, True),
        (b"GET /x HTTP/1.1\r\nX:GET /x RTSP/1.0\r\nHost: a\r\nY: RTSP/\r\n\r\n" + PLAIN, 2, False),
        (b"GET /RTSP/?RTSP/ HTTP/1.1\r\nHost: a\r\n\r\n", 1, False),
    ],
)
def test_what_names_rtsp_is_refused_where_it_is_a_request_line_and_only_there_however_the_stream_is_cut(
    raw: bytes, served: int, refused: bool
) -> None:
    """It once was looked for in all that came with a head: a body of the right words cost its own request."""
    cuts = [[len(raw)], [1] * len(raw), *([[at] for at in range(1, len(raw))])]
    assert {_read(raw, sizes) for sizes in cuts} == {(served, refused)}


def _read(raw: bytes, sizes: list[int]) -> tuple[int, bool]:
    """Whole requests until the first that is refused as RTSP, and whether there was one."""
    reader, refused = RequestReader(), False
    try:
        in_pieces(raw, sizes, reader.feed)
    except RefusalError as refusal:
        refused = "RTSP" in refusal.detail
    return list(reader.events).count(None), refused


def test_a_request_costs_the_same_in_a_long_pipeline_as_in_a_short_one() -> None:
    """What came with it was searched once for each: a client could hold up all others for seconds."""

    def cost(requests: int) -> float:
        reader, raw = RequestReader(), b"GET /x HTTP/1.1\r\nHost: a\r\nA: RTSP/\r\n\r\n" * requests
        began = time.process_time()
        reader.feed(raw)
        assert len(reader.events) == 2 * requests
        return (time.process_time() - began) / requests

    assert min(cost(20_000) for _ in range(2)) < 5 * min(cost(500) for _ in range(5))
