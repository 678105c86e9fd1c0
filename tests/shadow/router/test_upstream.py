"""One exchange with an upstream: reuse, one retry, and no byte that could reach another request."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from shadow.router.answers import AnswerReader
from shadow.router.pool import Pool
from shadow.router.upstream import REPLAY_BYTES, Leg
from shadow.router.ways import Exchanged
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.harness import Answer, Upstream


@dataclass
class End:
    """What came back, whole."""

    status: int
    body: bytes | None
    error: str
    connect_us: int


Ask = Callable[[str], Awaitable[End]]


class Receiver:
    """Keeps what comes; `end` once it is over."""

    def __init__(self, most: int = 1 << 20) -> None:
        self.end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.parts: list[bytes] = []
        self.interims: list[int] = []
        self.asked: list[str] = []
        self.dones: list[bool] = []
        self.ends = 0
        self._most = most
        self.leg: Leg | None = None

    def interim(self, answer: AnswerReader) -> None:
        self.interims += [status for status, _ in answer.interim]

    def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:
        self.parts.append(data)
        self.dones.append(done)
        if sum(map(len, self.parts)) > self._most and self.leg is not None:
            self.leg.give_up("too_large")

    def ended(self, end: Exchanged) -> None:
        self.ends += 1
        body = None if end.error else b"".join(self.parts)
        self.end.set_result(End(end.status, body, end.error, end.connect_us))

    def pause_sending(self) -> None:
        self.asked.append("pause")

    def resume_sending(self) -> None:
        self.asked.append("resume")


def begin(pool: Pool, receiver: Receiver, path: str, method: str = "GET") -> Leg:
    head = f"{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode()
    receiver.leg = Leg(pool, receiver, method.encode(), head, True)
    return receiver.leg


async def gone(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Closed before it said anything."""
    return False


@asynccontextmanager
async def asking(answer: Answer, deadline: float = 60.0) -> AsyncIterator[tuple[Ask, Upstream, Pool]]:
    upstream = Upstream(answer)
    await upstream.start()
    pool = Pool("127.0.0.1", upstream.port, most_idle=2, deadline=deadline)

    async def ask(path: str, method: str = "GET") -> End:
        receiver = Receiver()
        begin(pool, receiver, path, method)
        return await asyncio.wait_for(receiver.end, 60)

    try:
        yield ask, upstream, pool
    finally:
        pool.close()
        await upstream.stop()


async def test_a_connection_is_used_again_and_costs_no_connecting_then() -> None:
    async with asking(harness.echo) as (ask, _, pool):
        ends = [await ask(f"/{number}") for number in range(3)]
        assert [end.body for end in ends] == [b'{"target": "/%d"}' % n for n in range(3)]
        assert ends[0].connect_us > 0
        assert (ends[1].connect_us, ends[2].connect_us, len(pool._idle)) == (0, 0, 1)


async def test_a_connection_that_was_paused_when_its_answer_ended_reads_the_next_one() -> None:
    class Full(Receiver):
        def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:
            super().received(answer, data, done)
            if self.leg is not None:
                self.leg.pause()

    async with asking(harness.echo) as (ask, upstream, pool):
        receiver = Full()
        begin(pool, receiver, "/1")
        assert (await asyncio.wait_for(receiver.end, 60)).status == 200
        assert ((await ask("/2")).body, upstream.connections) == (b'{"target": "/2"}', 1)


async def test_no_more_connections_are_kept_than_allowed() -> None:
    async with asking(harness.echo) as (ask, _, pool):
        await asyncio.gather(*(ask("/") for _ in range(6)))
        assert len(pool._idle) == 2


async def test_a_late_byte_on_an_idle_connection_closes_it() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writers.append(writer)
        return await harness.echo(head, reader, writer)

    async with asking(answer) as (ask, _, pool):
        await ask("/1")
        writers[0].write(harness.reply('{"target": "/somebody-else"}'))
        async with asyncio.timeout(60):
            while pool._idle:
                await asyncio.sleep(0.001)
        end = await ask("/2")
        assert end.body == b'{"target": "/2"}'
        assert len(writers) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (harness.reset, "reset"),
        (harness.short, "short"),
        (harness.garbage, "garbage"),
        (harness.endless, "too_large"),
        (harness.silent, "timeout"),
    ],
)
async def test_failures_are_told_apart_and_their_connection_is_not_kept(answer: Answer, error: str) -> None:
    async with asking(answer, deadline=0.2 if answer is harness.silent else 60.0) as (ask, _, pool):
        end = await ask("/")
        assert (end.body, end.error, len(pool._idle)) == (None, error, 0)


async def test_a_head_that_never_ends_is_too_large() -> None:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not writer.is_closing():
            writer.write(b"x" * 4096)
            await writer.drain()
        return False

    async with asking(answer) as (ask, _, _):
        assert (await ask("/")).error == "too_large"


async def test_a_reset_is_no_end_of_a_body_that_ends_with_the_connection() -> None:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nhalf of")
        await writer.drain()
        await asyncio.sleep(0.02)  # a reset would overtake the bytes, and nothing would have come
        return await harness.reset(head, reader, writer)

    async with asking(answer) as (ask, _, _):
        assert (await ask("/")).error == "reset"


async def test_nobody_there_is_refused() -> None:
    receiver = Receiver()
    begin(Pool("127.0.0.1", free_port(), 1, 5.0), receiver, "/")
    assert (await asyncio.wait_for(receiver.end, 60)).error == "refused"


async def test_a_request_that_does_not_fit_into_a_new_connection_leaves_its_sender_paused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        pool = Pool(*deaf.getsockname(), most_idle=2, deadline=60.0)
        receiver = Receiver()
        leg = Leg(pool, receiver, b"POST", b"POST / HTTP/1.1\r\nhost: a\r\n\r\n" + b"x" * (32 << 20), False)
        await harness.until(lambda: receiver.asked)
        assert receiver.asked[-1] == "pause"
        leg.cancel()
        pool.close()


async def test_what_comes_while_a_connection_is_still_made_is_held_only_so_far_and_then_the_sender_is_paused() -> None:
    pool = Pool("127.0.0.1", 1, most_idle=2, deadline=60.0)
    receiver = Receiver()
    leg = Leg(pool, receiver, b"POST", b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", False)
    leg.send(b"x" * 60_000, False)
    assert receiver.asked == []
    leg.send(b"x" * 6_000, False)
    assert receiver.asked == ["pause"]
    leg.cancel()
    pool.close()


async def test_an_exchange_given_up_when_it_hears_that_it_may_send_on_leaves_no_connection_behind() -> None:
    class Impatient(Receiver):
        def resume_sending(self) -> None:
            assert self.leg is not None
            self.leg.cancel()

    async with asking(harness.silent) as (_, upstream, pool):
        receiver = Impatient()
        begin(pool, receiver, "/given-up")
        assert (await asyncio.wait_for(receiver.end, 60)).error == "cancelled"
        # One that is made after it is accepted after it.
        last = Receiver()
        leg = begin(pool, last, "/last")
        await harness.until(lambda: any("/last" in head for head in upstream.heads))
        await harness.until(lambda: upstream.open == 1)
        leg.cancel()
        assert len(upstream.heads) == 1


async def test_a_stale_connection_is_replaced_once_and_a_second_failure_is_told() -> None:
    async with asking(harness.echo) as (ask, upstream, _):
        await ask("/1")
        upstream.answer = gone
        end = await ask("/2")
        assert end.error == "reset"
        assert [harness.target_of(head) for head in upstream.heads] == ["/1", "/2", "/2"]


async def test_a_connection_that_said_something_is_not_tried_again() -> None:
    async with asking(harness.echo) as (ask, upstream, _):
        await ask("/1")
        upstream.answer = harness.short
        assert (await ask("/2")).error == "short"
        assert len(upstream.heads) == 2


async def test_cancelling_tells_once_and_closes() -> None:
    async with asking(harness.silent) as (_, upstream, pool):
        receiver = Receiver()
        leg = begin(pool, receiver, "/")
        async with asyncio.timeout(60):
            while not upstream.heads:
                await asyncio.sleep(0.001)
        leg.cancel()
        leg.cancel()
        assert (receiver.end.result().error, receiver.ends) == ("cancelled", 1)
        assert not pool._idle


async def test_what_must_not_be_done_twice_is_not_tried_again() -> None:
    async with asking(harness.echo) as (ask, upstream, pool):
        await ask("/1")
        upstream.answer = gone
        receiver = Receiver()
        begin(pool, receiver, "/2", "POST")
        assert (await asyncio.wait_for(receiver.end, 60)).error == "reset"
        assert [harness.target_of(head) for head in upstream.heads] == ["/1", "/2"]


@pytest.mark.parametrize("at_once", [True, False], ids=["in one piece", "in two"])
@pytest.mark.parametrize(("over", "times"), [(0, 2), (1, 1)])
async def test_a_request_is_tried_again_only_while_all_of_it_is_kept(at_once: bool, over: int, times: int) -> None:
    async def takes_all(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        bodies.append(b"".join([part async for part in harness.body_parts(head, reader)]))
        if len(bodies) == 1:
            return False  # without a word
        writer.write(harness.reply("{}"))
        return True

    bodies: list[bytes] = []
    head = b"PUT /2 HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
    length = REPLAY_BYTES + over - len(head % REPLAY_BYTES)
    whole = head % length + b"x" * (length - 1) + b"y"
    assert len(whole) == REPLAY_BYTES + over
    async with asking(harness.echo) as (ask, upstream, pool):
        await ask("/1")
        upstream.answer = takes_all
        receiver = Receiver()
        if at_once:
            Leg(pool, receiver, b"PUT", whole, True)
        else:
            Leg(pool, receiver, b"PUT", whole[:100], False).send(whole[100:], True)
        assert (await asyncio.wait_for(receiver.end, 60)).error == ("" if times == 2 else "reset")
        assert [body[-2:] for body in bodies] == [b"xy"] * times
        assert {len(body) for body in bodies} == {length}


async def test_an_answer_that_ends_with_its_connection_says_once_that_it_is_done() -> None:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        return False

    async with asking(answer) as (_, _, pool):
        receiver = Receiver()
        begin(pool, receiver, "/")
        assert (await asyncio.wait_for(receiver.end, 60)).body == b"all of it"
        assert (receiver.dones[-1], receiver.dones.count(True)) == (True, 1)


async def test_the_connection_that_was_given_back_last_is_used_first() -> None:
    """So that those beyond what the load needs stay idle."""
    gate = asyncio.Event()
    made: list[asyncio.StreamWriter] = []
    used: list[int] = []

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if writer not in made:
            made.append(writer)
        used.append(made.index(writer))
        await gate.wait()
        return await harness.echo(head, reader, writer)

    async with asking(answer) as (ask, _, pool):
        both = [asyncio.create_task(ask(f"/{number}")) for number in range(2)]
        await harness.until(lambda: len(used) == 2)
        gate.set()
        await asyncio.gather(*both)
        first, last = pool._idle
        for number in range(3):
            await ask(f"/{number}")
        assert len(set(used[2:])) == 1
        assert list(pool._idle) == [first, last]


class Turned:
    """A loop's clock and its one timer, turned by the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> object:
        self.due.append((when, callback))
        return self

    def turn_to(self, now: float) -> None:
        self.now = now
        due, self.due = self.due, []
        for when, callback in due:
            if when <= now:
                callback()
            else:
                self.due.append((when, callback))


class Watched:
    """An exchange that only notes its deadline."""

    def __init__(self, name: str, late: list[str]) -> None:
        self.name = name
        self.late = late

    def give_up(self, error: str) -> None:
        assert error == "timeout"
        self.late.append(self.name)

    def received(self, data: bytes) -> None: ...

    def lost(self, error: Exception | None) -> None: ...

    def pause_sending(self) -> None: ...

    def resume_sending(self) -> None: ...


async def test_an_exchange_whose_deadline_is_put_off_holds_up_no_other_deadline() -> None:
    pool, clock, late = Pool("127.0.0.1", 1, 1, deadline=10.0), Turned(), list[str]()
    pool.loop = clock  # type: ignore[assignment]
    sends, waits = Watched("sends", late), Watched("waits", late)
    pool.watch(sends)
    clock.now = 101.0
    pool.watch(waits)
    clock.now = 105.0
    pool.watch(sends)  # more of its request was sent
    clock.turn_to(110.0)
    assert late == []
    clock.turn_to(111.0)
    assert late == ["waits"]
    pool.unwatch(waits)
    clock.turn_to(114.9)
    assert late == ["waits"]
    clock.turn_to(115.0)
    assert late == ["waits", "sends"]


async def test_an_answer_to_head_has_no_body_and_its_connection_is_used_again() -> None:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        return True

    async with asking(answer) as (_, upstream, pool):
        for _ in range(3):
            receiver = Receiver()
            begin(pool, receiver, "/", "HEAD")
            end = await asyncio.wait_for(receiver.end, 60)
            assert (end.status, end.body, end.error) == (200, b"", "")
        assert len(pool._idle) == 1
        assert len(upstream.heads) == 3


async def test_deadlines_behind_one_timer_each_come_in_their_time() -> None:
    async with asking(harness.silent, deadline=0.1) as (ask, _, pool):
        ends = await asyncio.gather(*(ask(f"/{number}") for number in range(20)))
        assert {end.error for end in ends} == {"timeout"}
        assert not pool._due


async def test_an_address_of_a_name_that_does_not_answer_is_no_reason_not_to_ask_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `localhost`, which is ::1 first and 127.0.0.1 then, where a server listens on the latter alone."""
    stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    async with asking(harness.echo) as (_, upstream, _):
        found = [(*stream, (host, upstream.port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        receiver = Receiver()
        begin(Pool("reco", upstream.port, 1, 5.0), receiver, "/")
        assert (await asyncio.wait_for(receiver.end, 60)).status == 200
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found[:1])
        receiver = Receiver()
        begin(Pool("reco", upstream.port, 1, 5.0), receiver, "/")
        assert (await asyncio.wait_for(receiver.end, 60)).error == "refused"


async def test_a_name_that_is_not_there_is_refused_and_holds_up_nobody_else() -> None:
    receiver = Receiver()
    begin(Pool("nobody.invalid", 80, 1, 5.0), receiver, "/")
    async with asking(harness.echo) as (ask, _, _):
        assert (await ask("/")).status == 200
    assert (await asyncio.wait_for(receiver.end, 60)).error in ("refused", "timeout")
