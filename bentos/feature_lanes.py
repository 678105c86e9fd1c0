"""Questions to Redis, carried by a few connections that each take all that are waiting at once.

A request costs Redis one round trip and this process a share of one. Whoever asks waits on a future of its own under
the deadline, never on a connection: giving up leaves the connection with the lane, which reads the late answer and
drops it, so an answer cannot reach another question. While Redis is known to be late or away nobody waits at all.
Connecting is done in the background with pauses that double and jitter. Faults are named as in `bentos.features`.
Next module: `bentos.feature_store`, which asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bentos.feature_lane import Lane, LaneError, Question, fault_of
from bentos.redis_url import masked

log = logging.getLogger(__name__)
STUCK_SECONDS: Final = 1.0
"""A connection whose answer is later than this is given up: the other end may be gone without a word."""
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0
"""Pauses between attempts to connect: doubling from the first to the longest, each drawn from its upper half."""
MOST_WAITING: Final = 1_024
"""Questions that may wait; more are turned away at once."""
MOST_IN_BATCH: Final = 64
"""Questions of one round trip."""
TURNS: Final = 3
"""Of the event loop, after the deadline: this process may have been busy while the answer came, and then it is there
to be read."""
Command = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LanesState:
    """Connections open and carrying questions now, questions waiting, and counts since the start."""

    connected: int
    busy: int
    waiting: int
    batches: int
    questions: int
    connects: int


class Lanes:
    """At most `count` connections to the Redis at `url`; a question is answered within `deadline_seconds` or fails.

    No question may ask for more than `longest_seconds`, if these are more.
    """

    def __init__(self, url: str, count: int, deadline_seconds: float, longest_seconds: float = 0.0) -> None:
        import redis.asyncio
        from redis.asyncio.retry import Retry
        from redis.backoff import EqualJitterBackoff, NoBackoff

        # The pool only reads the URL. RESP2: no HELLO, and no message that nobody asked for.
        pool: Any = redis.asyncio.ConnectionPool.from_url(
            url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None, driver_info=None
        )
        self._lanes = [Lane(pool.make_connection()) for _ in range(count)]
        self._backoff = EqualJitterBackoff(cap=LONGEST_PAUSE_SECONDS, base=FIRST_PAUSE_SECONDS)
        self._shown = masked(url)
        self._deadline = deadline_seconds
        self._stuck = max(STUCK_SECONDS, 2 * deadline_seconds, 2 * longest_seconds)
        self._waiting: deque[Question] = deque()
        self._called: Lane | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._batches = self._questions = self._connects = 0

    async def ask(self, commands: Sequence[Command], deadline_seconds: float | None = None) -> list[Any]:
        """The replies to `commands`, an exception in the place of each that Redis refused. `LaneError` otherwise, at
        the latest after `deadline_seconds`, if these are given.

        The commands must bear being carried out twice: they are repeated once when a connection breaks under them.
        `ValueError` for what is no text that Redis could take.
        """
        from hiredis import pack_command

        self._start()
        loop = asyncio.get_running_loop()
        deadline = self._deadline if deadline_seconds is None else deadline_seconds
        if fault := self._fault(loop.time(), deadline):
            raise LaneError(fault)
        # In C; redis-py's asynchronous connection packs in Python, which costs as much as all the rest.
        packed = b"".join([pack_command(command) for command in commands])
        question = Question(packed, len(commands), loop.create_future())
        self._waiting.append(question)
        self._call_a_lane()
        expiry = loop.call_later(deadline, self._expire, question, TURNS)
        try:
            replies = await question.replies
        finally:
            expiry.cancel()
        if isinstance(replies, LaneError):
            raise replies
        return replies

    def _expire(self, question: Question, turns: int) -> None:
        """The deadline of `question` has passed; so many turns of the loop later it has no answer."""
        if question.replies.done():
            return
        if turns:
            asyncio.get_running_loop().call_soon(self._expire, question, turns - 1)
        else:
            question.fail("timeout" if any(lane.open.is_set() for lane in self._lanes) else "unreachable")

    async def connect(self, seconds: float) -> bool:
        """Open all connections, at most for `seconds`; whether all are open. Never raises."""
        self._start()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(lane.open.wait() for lane in self._lanes))
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Give the connections back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        for lane in self._lanes:
            await lane.leave("unreachable")

    @property
    def state(self) -> LanesState:
        """What the lanes are doing now."""
        connected = sum(lane.open.is_set() for lane in self._lanes)
        busy = sum(lane.since is not None for lane in self._lanes)
        waiting = sum(not question.replies.done() for question in self._waiting)
        return LanesState(connected, busy, waiting, self._batches, self._questions, self._connects)

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._drive(lane)) for lane in self._lanes]

    def _fault(self, now: float, deadline: float) -> str:
        """Why no lane will answer in time; "" when one may. A lane that connects for the first time may."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting = deque(question for question in self._waiting if not question.replies.done())
            if len(self._waiting) >= MOST_WAITING:
                return "saturated"
        fault = ""
        for lane in self._lanes:
            if lane.fault:
                fault = fault or lane.fault
            elif lane.late(now, deadline):
                fault = "timeout"
            else:
                return ""
        return fault

    def _call_a_lane(self) -> None:
        """Wake an idle lane, but one at a time: it takes whatever else is asked before it gets to run."""
        if self._called is not None:
            return
        for lane in self._lanes:
            if lane.idle is not None and not lane.idle.done():
                self._called = lane
                lane.idle.set_result(None)
                return

    async def _drive(self, lane: Lane) -> None:
        failures = 0
        while True:
            try:
                self._connects += 1
                await lane.connect()
                if lane.open.is_set():
                    self._tell(failures, "answers again")
                    failures = 0
                    await self._carry_while_open(lane)
                    self._call_a_lane()
                    continue
            except Exception:
                log.exception("a connection to the feature store ended by an error of our own")
                await lane.leave("unreachable")
            failures += 1
            self._give_up()
            self._tell(failures == 1, f"is not usable ({lane.fault}): {lane.reason or 'no answer'}")
            await asyncio.sleep(self._backoff.compute(failures))

    def _tell(self, new: int, what: str) -> None:
        """Once for each turn of a connection; requests are told by their label and counted."""
        if new:
            log.warning("the feature store at %s %s", self._shown, what)

    def _give_up(self) -> None:
        """When no lane is left, those who wait learn it now."""
        if all(lane.fault for lane in self._lanes):
            while self._waiting:
                self._waiting.popleft().fail(self._lanes[0].fault)

    async def _carry_while_open(self, lane: Lane) -> None:
        while True:
            await self._wait_for_questions(lane)
            # Redis may have closed an idle connection; those who ask shall not pay for it.
            if await lane.closed():
                await lane.leave("")
                return
            batch = self._next_batch()
            if batch and not await self._carry(lane, batch):
                return

    async def _wait_for_questions(self, lane: Lane) -> None:
        if not self._waiting:
            lane.idle = asyncio.get_running_loop().create_future()
            await lane.idle
            lane.idle = None
        if self._called is lane:
            self._called = None

    def _next_batch(self) -> list[Question]:
        batch: list[Question] = []
        while self._waiting and len(batch) < MOST_IN_BATCH:
            question = self._waiting.popleft()
            if not question.replies.done():
                batch.append(question)
        if self._waiting:
            self._call_a_lane()
        return batch

    async def _carry(self, lane: Lane, batch: list[Question]) -> bool:
        """Whether the lane is still open afterwards."""
        self._batches += 1
        self._questions += len(batch)
        lane.since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._stuck):
                await lane.carry(batch)
        except Exception as error:
            fault = "timeout" if isinstance(error, TimeoutError) else fault_of(error)
            # After a broken connection it is worth waiting for the next, until that has failed.
            await lane.leave("" if fault == "unreachable" else fault)
            for question in reversed(batch):
                self._fail_or_repeat(question, fault)
            return False
        lane.since = None
        return True

    def _fail_or_repeat(self, question: Question, fault: str) -> None:
        """A connection may have been closed by Redis, restarting, before we could know: each question has one more."""
        if fault == "unreachable" and not question.repeated and not question.replies.done():
            question.repeated = True
            self._waiting.appendleft(question)
        else:
            question.fail(fault)
