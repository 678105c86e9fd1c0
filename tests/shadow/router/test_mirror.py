"""An arm's queue and breaker, with a clock that the test turns."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shadow.contracts import Answer
from shadow.router import mirror
from shadow.router.breaker import Breaker
from shadow.router.config import Arm, Primary, RouterConfig
from shadow.router.counters import ArmCounters
from shadow.router.mirror import Copy, Mirror
from shadow.router.records import Draft
from tests.shadow.router import harness
from tests.shadow.router.harness import Upstream


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """That of all mirrors."""
    clock = Clock()
    monkeypatch.setattr(mirror, "monotonic", clock)
    return clock


def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, seconds=10.0, clock=clock)


def test_a_breaker_opens_after_failures_in_a_row_and_a_success_between_starts_anew() -> None:
    one = breaker(Clock())
    for failed in (True, True, False, True, True):
        assert one.allows()
        one.report(failed, False)
    assert not one.open
    one.report(True, False)
    assert one.open
    assert not one.allows()


def test_an_open_breaker_gives_out_one_probe_at_a_time_and_its_success_closes_it() -> None:
    clock = Clock()
    one = breaker(clock)
    for _ in range(3):
        one.report(True, False)
    clock.now += 9.9
    assert not one.allows()
    clock.now += 0.2
    assert one.allows()
    assert not one.allows()
    one.report(False, True)
    assert one.allows()
    assert one.allows()


def test_a_failed_probe_keeps_it_open_for_the_same_time_again() -> None:
    clock = Clock()
    one = breaker(clock)
    for _ in range(3):
        one.report(True, False)
    clock.now += 10.1
    assert one.allows()
    one.report(True, True)
    assert one.blocks
    clock.now += 9.9
    assert not one.allows()
    clock.now += 0.2
    assert one.allows()


@pytest.mark.parametrize("failed", [True, False])
def test_while_open_the_end_of_a_copy_from_before_changes_nothing(failed: bool) -> None:
    clock = Clock()
    one = breaker(clock)
    for _ in range(3):
        one.report(True, False)
    clock.now += 9.0
    one.report(failed, False)
    assert one.open
    clock.now += 1.1
    assert one.allows()  # the probe comes no later for it
    one.report(failed, False)
    clock.now += 10.1
    assert one.open
    assert not one.allows()  # and there is no second one beside it
    one.withdraw(False)
    assert not one.allows()
    one.withdraw(True)
    assert one.allows()


class OneArm:
    """A mirror with what it decided; `ended` holds outcome and answer in order."""

    def __init__(self, **settings: Any) -> None:
        self.counters = ArmCounters()
        self.ended: list[tuple[str, str, Answer | None]] = []
        self.changed = asyncio.Event()
        arm = Arm(name="shadow", version="v2", **settings)
        primary = Primary(url="http://127.0.0.1:1")
        config = RouterConfig(
            experiment="test", listen="127.0.0.1:0", admin="127.0.0.1:0", shipper="", primary=primary, arms=(arm,)
        )
        self.mirror = Mirror(arm, config, self.counters, self._write)

    def _write(self, draft: Draft, arm: str, outcome: str, answer: Answer | None) -> None:
        assert self.counters.balance == 0
        self.ended.append((draft.request_id, outcome, answer))
        self.changed.set()

    def offer(self, name: str, size: int = 100) -> None:
        draft = Draft(name, "e", "i", 0, 0, "GET", "/", 0, "", 0, None)
        self.counters.begin()
        copy = Copy(self.mirror, f"GET /{name} HTTP/1.1\r\nhost: a\r\n\r\n".encode(), draft, 0)
        copy.size = size
        self.mirror.offer(copy)

    async def until(self, number: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(60):
            while len(self.ended) < number:
                self.changed.clear()
                await self.changed.wait()
        return [(name, outcome) for name, outcome, _ in self.ended]


@asynccontextmanager
async def before(answer: harness.Answer, **settings: Any) -> AsyncIterator[OneArm]:
    """An arm before an upstream that answers so."""
    upstream = Upstream(answer)
    await upstream.start()
    arm = OneArm(url=f"http://127.0.0.1:{upstream.port}", **settings)
    try:
        yield arm
    finally:
        arm.mirror.close()
        await upstream.stop()


@pytest.fixture
async def held() -> Any:
    """An upstream that answers when the test says so."""
    gate = asyncio.Event()

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await gate.wait()
        return await harness.echo(head, reader, writer)

    upstream = Upstream(answer)
    await upstream.start()
    upstream.gate = gate
    yield upstream
    gate.set()
    await upstream.stop()


async def test_copies_that_do_not_fit_are_dropped_and_those_before_them_are_not(held: Any) -> None:
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=1, queue_bytes=250)
    for name in ("first", "second", "third"):
        arm.offer(name)
    assert arm.mirror.queued_bytes == 200
    assert await arm.until(1) == [("third", "dropped:queue_full")]
    held.gate.set()
    assert await arm.until(3) == [("third", "dropped:queue_full"), ("first", "paired"), ("second", "paired")]
    assert arm.mirror.queued_bytes == 0
    assert arm.ended[2][2].queue_us > 0
    arm.mirror.close()


async def test_no_more_copies_are_under_way_than_allowed(held: Any) -> None:
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=3)
    for number in range(10):
        arm.offer(str(number))
    async with asyncio.timeout(60):
        while len(held.heads) < 3:
            await asyncio.sleep(0.001)
    assert len(arm.mirror._under_way) == 3
    held.gate.set()
    assert {outcome for _, outcome in await arm.until(10)} == {"paired"}
    assert len(arm.mirror._pool._idle) <= 3
    arm.mirror.close()


async def test_a_copy_that_waited_too_long_is_dropped_when_its_turn_comes(held: Any, clock: Clock) -> None:
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=1, queue_seconds=5.0)
    arm.offer("under way")
    arm.offer("old")
    clock.now += 5.1
    held.gate.set()
    assert await arm.until(2) == [("under way", "paired"), ("old", "dropped:expired")]
    arm.offer("new")
    assert (await arm.until(3))[2] == ("new", "paired")
    assert arm.mirror.queued_bytes == 0
    arm.mirror.close()


async def test_copies_that_waited_too_long_go_as_others_come_though_no_slot_is_free(held: Any, clock: Clock) -> None:
    """Else all that came in the time of a slow answer would be dropped in the moment of its end."""
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=1, queue_seconds=5.0, queue_bytes=600)
    for name in ("under way", "a", "b", "c", "d", "e"):
        arm.offer(name)
    clock.now += 5.1
    arm.offer("f")
    assert [(name, outcome) for name, outcome, _ in arm.ended] == [("a", "dropped:expired"), ("b", "dropped:expired")]
    arm.offer("g")
    arm.offer("h")
    assert [name for name, _, _ in arm.ended] == ["a", "b", "c", "d", "e"]
    assert arm.mirror.queued_bytes == 400
    held.gate.set()
    assert (await arm.until(9))[5:] == [("under way", "paired"), ("f", "paired"), ("g", "paired"), ("h", "paired")]
    arm.mirror.close()


async def test_no_more_is_dropped_in_a_turn_when_others_come_or_end_in_it(held: Any, clock: Clock) -> None:
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=2, queue_seconds=5.0)
    for number in range(2 + 5 * mirror.DROPPED_AT_ONCE):
        arm.offer(str(number))
    clock.now += 5.1
    for copy in list(arm.mirror._under_way):
        assert copy.leg is not None
        copy.leg.give_up("reset")
    for number in range(10):
        arm.offer(f"new {number}")
    assert len(arm.ended) == 2 + mirror.DROPPED_AT_ONCE + 10 * mirror.EXPIRED_FOR_ONE
    arm.mirror.close()


async def test_a_long_queue_behind_a_dead_arm_is_dropped_a_few_at_a_time(held: Any) -> None:
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=1, breaker_failures=1, breaker_seconds=60)
    for number in range(3 * mirror.DROPPED_AT_ONCE + 1):
        arm.offer(str(number))
    (copy,) = arm.mirror._under_way
    assert copy.leg is not None
    copy.leg.give_up("reset")
    seen = [len(arm.ended)]
    while arm.mirror.busy:
        await asyncio.sleep(0)
        seen.append(len(arm.ended))
    most = max(after - before for before, after in itertools.pairwise(seen))
    assert (seen[0], most) == (1 + mirror.DROPPED_AT_ONCE, mirror.DROPPED_AT_ONCE)
    assert {outcome for _, outcome, _ in arm.ended[1:]} == {"dropped:breaker_open"}
    assert arm.mirror.queued_bytes == 0
    arm.mirror.close()


async def test_closing_cuts_off_what_is_under_way_and_drops_what_waits(held: Any) -> None:
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=1)
    arm.offer("under way")
    arm.offer("waits")
    async with asyncio.timeout(60):
        while not held.heads:
            await asyncio.sleep(0.001)
    arm.mirror.close()
    arm.offer("late")
    assert await arm.until(3) == [
        ("waits", "dropped:shutdown"),
        ("under way", "arm_timeout"),
        ("late", "dropped:shutdown"),
    ]
    assert not arm.mirror.busy
    assert arm.counters.in_flight == 0


async def test_a_shadow_that_accepts_and_never_reads_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        arm = OneArm(url=f"http://127.0.0.1:{deaf.getsockname()[1]}", deadline_ms=50)
        arm.offer("copy")
        assert await arm.until(1) == [("copy", "arm_timeout")]
        arm.mirror.close()


async def test_a_long_answer_is_kept_up_to_the_limit_and_marked(held: Any) -> None:
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", answer_bytes=10)
    held.gate.set()
    arm.offer("copy")
    await arm.until(1)
    answer = arm.ended[0][2]
    assert answer is not None
    assert (answer.body, answer.truncated, answer.version) == ('{"target":', True, "v2")
    arm.mirror.close()


@pytest.mark.parametrize(("status", "fails"), [(404, False), (499, False), (500, True), (503, True), (599, True)])
async def test_an_answer_is_a_failure_for_the_breaker_from_500_on_and_a_pair_whatever_it_says(
    status: int, fails: bool
) -> None:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(harness.reply("{}", f"{status} Whatever"))
        return True

    async with before(answer, breaker_failures=1, breaker_seconds=60) as arm:
        arm.offer("first")
        assert await arm.until(1) == [("first", "paired")]
        arm.offer("second")
        assert (await arm.until(2))[1] == ("second", "dropped:breaker_open" if fails else "paired")


async def test_copies_from_before_the_breaker_opened_end_beside_the_one_probe(clock: Clock) -> None:
    gates = {name: asyncio.Event() for name in ("first", "late", "later", "probe")}

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        name = harness.target_of(head)[1:]
        await gates[name].wait()
        writer.write(harness.reply("{}", "200 OK" if name == "probe" else "500 No"))
        return True

    async with before(answer, breaker_failures=1, breaker_seconds=10) as arm:
        for name in ("first", "late", "later"):
            arm.offer(name)
        gates["first"].set()
        await arm.until(1)
        clock.now += 10.1
        arm.offer("probe")
        gates["late"].set()
        await arm.until(2)
        clock.now += 10.1
        arm.offer("second probe")
        assert (await arm.until(3))[2] == ("second probe", "dropped:breaker_open")
        gates["probe"].set()
        assert (await arm.until(4))[3] == ("probe", "paired")
        assert not arm.mirror._breaker.open
        gates["later"].set()
        assert await arm.until(5) == [
            ("first", "paired"),
            ("late", "paired"),
            ("second probe", "dropped:breaker_open"),
            ("probe", "paired"),
            ("later", "paired"),
        ]


async def test_behind_an_open_breaker_no_copy_waits_for_a_slot(held: Any, clock: Clock) -> None:
    """It would be dropped when its turn came, and take the room of the queue until then."""
    arm = OneArm(url=f"http://127.0.0.1:{held.port}", concurrency=2, breaker_failures=1, breaker_seconds=10)
    arm.offer("first")
    (first,) = arm.mirror._under_way
    arm.offer("from before")
    assert first.leg is not None
    first.leg.give_up("reset")
    clock.now += 10.1
    arm.offer("probe")
    arm.offer("late")
    assert [(name, outcome) for name, outcome, _ in arm.ended] == [
        ("first", "arm_error"),
        ("late", "dropped:breaker_open"),
    ]
    assert arm.mirror.queued_bytes == 200
    arm.mirror.close()
