"""Where a stream of bytes is cut says nothing: both directions give the same, whole or byte by byte.

The router, its primary and the client share one loop, so a piece that was written is read alone before the next one
is (`capture.send_apart`). All cuts into two pieces are tried, then byte by byte, then hypothesis' choice of cuts.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import h11
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.shadow.router.smuggling.capture import Rig, Standing, echo, send_apart, standing
from tests.shadow.router.smuggling.corpus import TAIL, THREE
from tests.shadow.router.smuggling.readings import Answered, Reading, answers_in

EXAMPLES = pytest.mark.parametrize("examples", [100, pytest.param(2_000, marks=pytest.mark.long)])
ID = b"X-Request-Id: mine\r\n"
COPIED = b"/recommend?user_id=1&k=3"
"""The target of what the shadow gets too."""
STREAM = (
    b"GET " + COPIED + b" HTTP/1.1\r\nHost: reco\r\nAccept: */*\r\n" + ID + b"\r\n"
    b"POST /events HTTP/1.1\r\nHost: reco\r\n" + ID + b"Content-Length: 12\r\n\r\nGET / HTTP/1"
    b"\r\nPUT /events HTTP/1.1\r\nHost: reco\r\n" + ID + b"Transfer-Encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n007\r\n\r\n0\r\n\r\n\r\n0\r\nT: u\r\n\r\n"
    b"HEAD /model HTTP/1.1\r\nHost: reco\r\n" + ID + b"\r\n"
    b"POST /events HTTP/1.1\r\nHost: reco\r\n" + ID + b"Content-Length: 0\r\n\r\n"
    b"DELETE /events HTTP/1.1\r\nHost: reco\r\n" + ID + b"Connection: close\r\n\r\n"
)
"""Requests of all framings, pipelined."""
METHODS = (b"GET", b"POST", b"PUT", b"HEAD", b"POST", b"DELETE")
BODIES = (b"", b"GET / HTTP/1", b"hello\r\n0\r\n\r\n", b"", b"", b"")
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3;a=b\r\nhel\r\n02\r\nlo\r\n0\r\nT: u\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello"
ANSWERS = {
    "length": (b"GET", LENGTH, b"hello"),
    "length with white space around": (b"GET", LENGTH.replace(b" 5", b" \t5 \t"), b"hello"),
    "length of zero": (b"GET", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""),
    "chunks": (b"GET", CHUNKED, b"hello"),
    "no chunk but the last": (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    "until the close": (b"GET", UNTIL_CLOSE, b"hello"),
    "HTTP/1.0": (b"GET", b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello", b"hello"),
    "204": (b"DELETE", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", b""),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
    "304 with a length": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    "HEAD with a length": (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b""),
    "HEAD in chunks": (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    "103 and a length": (b"GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH, b"hello"),
    "100, 102 and chunks": (
        b"PUT",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + CHUNKED,
        b"hello",
    ),
    "103 and until the close": (b"GET", b"HTTP/1.1 103 Early Hints\r\n\r\n" + UNTIL_CLOSE, b"hello"),
    "103 and 204": (b"GET", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", b""),
}
"""The method asked with, the primary's bytes, the body that they hold."""
LAST = b"GET /last HTTP/1.1\r\nHost: reco\r\nConnection: close\r\n\r\n"
CLOSED = {"until the close", "HTTP/1.0", "103 and until the close"}
"""The primary ends these by the end of the connection."""


@pytest.fixture(scope="module")
def world() -> Iterator[Standing]:
    with standing() as built:
        yield built


def pieces_of(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(stream)}), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def test_pieces_are_the_stream_and_none_is_empty() -> None:
    assert pieces_of(b"abcd", [3, 1, 3, 0, 4, 9]) == [b"a", b"bc", b"d"]
    assert pieces_of(b"abcd", []) == [b"abcd"]


async def test_each_piece_is_read_alone() -> None:
    read: list[bytes] = []
    ended = asyncio.Event()

    class Keeper(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            read.append(data)

        def connection_lost(self, error: Exception | None) -> None:
            ended.set()

    server = await asyncio.get_running_loop().create_server(Keeper, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    pieces = pieces_of(STREAM, range(0, len(STREAM), 3))
    await send_apart(writer, pieces)
    writer.close()
    await asyncio.wait_for(ended.wait(), 60)
    server.close()
    assert read == pieces


async def asked(router: Rig, cuts: Sequence[int]) -> Outcome:
    """What came of `STREAM` in these pieces."""
    router.primary.forget()
    router.shadow.forget()
    answers = answers_in(await router.send(pieces_of(STREAM, cuts)), METHODS)
    await router.settled()
    return Outcome(router.primary.requests(), router.shadow.requests(), answers)


@dataclass(frozen=True)
class Outcome:
    """What the primary and the shadow read, and what the client got."""

    primary: list[Reading]
    shadow: list[Reading]
    answers: list[Answered]


@pytest.fixture(scope="module")
def uncut(world: Standing) -> Outcome:
    outcome = world.run(asked(world.rig, []))
    assert [(request.method, request.body, request.whole) for request in outcome.primary] == [
        (method, body, True) for method, body in zip(METHODS, BODIES, strict=True)
    ]
    assert [(request.method, request.target) for request in outcome.shadow] == [(b"GET", COPIED)]
    assert [(answer.status, answer.whole) for answer in outcome.answers] == [(200, True)] * len(METHODS)
    return outcome


def test_requests_are_the_same_at_each_cut_into_two_and_byte_by_byte(world: Standing, uncut: Outcome) -> None:
    for cuts in [[cut] for cut in range(1, len(STREAM))] + [list(range(len(STREAM)))]:
        assert world.run(asked(world.rig, cuts)) == uncut, cuts


@EXAMPLES
def test_requests_are_the_same_at_any_cuts(world: Standing, uncut: Outcome, examples: int) -> None:
    @settings(max_examples=examples)
    @given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
    def check(cuts: list[int]) -> None:
        note(f"{cuts=}")
        assert world.run(asked(world.rig, cuts)) == uncut

    check()


async def answered(router: Rig, name: str, cuts: Sequence[int]) -> list[Answered]:
    """What the client got when the primary's answer came in these pieces, and then another request's answer."""
    method, raw, _ = ANSWERS[name]
    ending = [b""] if name in CLOSED else []

    def script(head: h11.Request, body: bytes) -> Sequence[bytes]:
        return pieces_of(raw, cuts) + ending if head.target == b"/cut" else echo(head, body)

    router.primary.script = script
    asking = b"%s /cut HTTP/1.1\r\nHost: reco\r\n%s\r\n" % (method, ID)
    after = b"GET /after HTTP/1.1\r\nHost: reco\r\n%sConnection: close\r\n\r\n" % ID
    return answers_in(await router.send([asking + after]), [method, b"GET"])


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_at_each_cut_into_two_and_byte_by_byte(world: Standing, name: str) -> None:
    _, raw, body = ANSWERS[name]
    uncut = world.run(answered(world.rig, name, []))
    assert uncut[0].status == int(raw.split(b"HTTP/1.")[-1][2:5])
    assert (uncut[0].body, uncut[0].whole) == (body, True)
    if name not in CLOSED:
        assert uncut[1].body == b'{"target": "/after", "bytes": 0}'
    for cuts in [[cut] for cut in range(1, len(raw))] + [list(range(len(raw)))]:
        assert world.run(answered(world.rig, name, cuts)) == uncut, cuts


@EXAMPLES
def test_an_answer_is_the_same_at_any_cuts(world: Standing, examples: int) -> None:
    uncut = {name: world.run(answered(world.rig, name, [])) for name in ANSWERS}

    @settings(max_examples=examples)
    @given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(1, 200), max_size=10))
    def check(name: str, cuts: list[int]) -> None:
        note(f"{name=} {cuts=}")
        assert world.run(answered(world.rig, name, cuts)) == uncut[name]

    check()


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 40\r\n\r\n" + TAIL, b"Transfer-Encoding: chunked\r\n\r\n" + THREE]
)
def test_a_stream_that_ends_within_a_request_is_no_request(world: Standing, framing: bytes) -> None:
    router, request = world.rig, b"POST /events HTTP/1.1\r\nHost: reco\r\n" + framing
    for end in range(1, len(request)):
        router.primary.forget()
        (refusal,) = answers_in(world.run(router.send([request[:end]], "eof")), [])
        world.run(router.settled())
        assert refusal.status in (400, 408), request[:end]
        assert not any(reading.whole for reading in router.primary.requests())


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_answer_that_breaks_off_is_told_from_a_whole_one_at_each_place(
    world: Standing, raw: bytes, version: bytes
) -> None:
    router = world.rig
    for end in range(1, len(raw)):
        router.primary.script = lambda head, body, end=end: [raw[:end], b""]
        got = world.run(router.send([b"GET /cut HTTP/" + version + b"\r\nHost: reco\r\nConnection: close\r\n\r\n"]))
        if got or not router.was_reset:
            (answer,) = answers_in(got, [b"GET"])
            assert answer.status == 502 or not answer.whole or router.was_reset, raw[:end]


def test_a_body_that_comes_behind_its_answer_is_no_request(world: Standing) -> None:
    router = world.rig
    router.primary.script, router.primary.early = echo, True
    router.primary.forget()
    for cut in range(len(TAIL) + 1):
        world.run(overtaken(world.rig, cut))
        assert {request.target for request in router.primary.requests()} == {b"/early"}
    router.primary.early = False
    (answer,) = answers_in(world.run(router.send([LAST])), [b"GET"])
    assert answer.body == b'{"target": "/last", "bytes": 0}'


async def overtaken(router: Rig, cut: int) -> None:
    """A client whose request is answered when `cut` bytes of a body of 80 have left; the rest leaves all the same."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.stage.port)
    async with asyncio.timeout(60):
        writer.write(b"POST /early HTTP/1.1\r\nHost: reco\r\nContent-Length: 80\r\n\r\n" + TAIL[:cut])
        got = await reader.readuntil(b"}")
        await send_apart(writer, [TAIL[cut:], TAIL, LAST])
        with suppress(ConnectionError):
            got += await reader.read()
    writer.close()
    (answer,) = answers_in(got, [b"POST"])
    assert (answer.status, answer.body) == (200, b'{"target": "/early", "bytes": 0}')
    await router.settled()
