"""The copies of one arm: a queue bounded in bytes, a limit of copies under way, a deadline, a breaker, no retries.

`offer` never waits and never raises: what does not fit is dropped with its reason and counted. Nothing here is shared
with the primary. Next module: `shadow.router.records`, what becomes of a copy's end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from shadow.contracts import ARM_ERROR, ARM_TIMEOUT, DROPPED, PAIRED, Answer
from shadow.router.addresses import upstream
from shadow.router.answers import AnswerReader
from shadow.router.breaker import Breaker
from shadow.router.config import Arm, RouterConfig
from shadow.router.counters import ArmCounters
from shadow.router.headers import ArmHeaders
from shadow.router.pool import Pool
from shadow.router.records import Body, Draft, answer_of
from shadow.router.upstream import Leg
from shadow.router.ways import Exchanged

Write = Callable[[Draft, str, str, Answer | None], None]
"""Takes a decided record: draft, arm, outcome, the arm's answer."""
OVERHEAD_BYTES: Final = 2_048
"""What a waiting copy costs besides its bytes (measured: record, objects, queue entry, about 1.7 KB)."""
DROPPED_AT_ONCE: Final = 50
"""Waiting copies that are dropped in one turn of the loop: about a millisecond."""
EXPIRED_FOR_ONE: Final = 2
"""Copies that waited too long and are dropped for one that comes: they go as they came, and no crowd of them is left
for the moment when the arm has a slot again."""
ABORTED: Final = "aborted"
"""The error of an exchange that an abort cut off: it tells nothing about the arm."""
ANSWER_BYTES: Final = 1 << 20
"""An arm's answer that goes on beyond this, and beyond what is kept of it, is cut off as too_large."""

ANSWER_PARTS: Final = 1_024
"""Chunks of an arm's answer; one in more is garbage (a read of 256 KiB could hold 43,000, which took 20 ms)."""


class Copy:
    """One copy, the draft of the record that waits for its outcome, and what comes back."""

    __slots__ = ("body", "draft", "leg", "mirror", "offered_at", "payload", "probe", "queue_us", "size")

    def __init__(self, mirror: Mirror, payload: bytes, draft: Draft, held_bytes: int) -> None:
        self.mirror = mirror
        self.payload = payload
        self.draft = draft
        self.size = len(payload) + held_bytes + OVERHEAD_BYTES
        """What it counts in the queue; `held_bytes` are those of its draft."""
        self.offered_at = 0.0
        self.queue_us = 0
        self.body = Body(mirror.arm.answer_bytes)
        self.leg: Leg | None = None
        self.probe = False
        """Whether the arm's breaker was open when it went."""

    def interim(self, answer: AnswerReader) -> None:
        """Nobody waits for it here."""

    def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:  # noqa: ARG002 - the protocol's
        """More of the answer."""
        self.body.opaque = answer.is_encoded
        self.body.add(data)
        if self.body.size > max(ANSWER_BYTES, self.mirror.arm.answer_bytes) and self.leg is not None:
            self.leg.give_up("too_large")

    def ended(self, end: Exchanged) -> None:
        """It is over."""
        self.mirror.ended(self, end)

    def pause_sending(self) -> None:
        """All of it is in the buffer already; the deadline bounds how long."""

    def resume_sending(self) -> None:
        """See `pause_sending`."""


class Mirror:
    """One arm. `write` takes each decided record."""

    def __init__(self, arm: Arm, config: RouterConfig, counters: ArmCounters, write: Write) -> None:
        self.arm = arm
        self.counters = counters
        self.headers = ArmHeaders.of(arm, config.experiment, config.copy_headers)
        self.queued_bytes = 0
        self._write = write
        self._pool = Pool(*upstream("url", arm.url), arm.concurrency, arm.deadline_ms / 1000, ANSWER_PARTS)
        self._queue: deque[Copy] = deque()
        self._doomed: deque[Copy] = deque()
        """What waited when the arm was retired, and is not dropped yet."""
        self._under_way: set[Copy] = set()
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker(arm.breaker_failures, arm.breaker_seconds, monotonic)
        self._open = True
        self._pumping = False

    @property
    def busy(self) -> bool:
        """Whether any copy waits or is under way."""
        return bool(self._queue or self._doomed or self._under_way)

    def offer(self, copy: Copy) -> None:
        """Send the copy when there is room and a slot; drop it otherwise. Never waits."""
        if not self._open:
            self.drop(copy.draft, "shutdown")
            return
        now = monotonic()
        self._expire(now)
        if self.queued_bytes + copy.size > self.arm.queue_bytes:
            self.drop(copy.draft, "queue_full")
        elif self._breaker.blocks:
            self.drop(copy.draft, "breaker_open")
        else:
            copy.offered_at = now
            self.queued_bytes += copy.size
            self._queue.append(copy)
            self._pump()

    def drop(self, draft: Draft, reason: str) -> None:
        """Decide a request as dropped."""
        self.decide(draft, DROPPED + reason, None)

    def decide(self, draft: Draft, outcome: str, answer: Answer | None) -> None:
        """Count the outcome and write the record; the one way out of `in_flight`."""
        self.counters.decide(outcome, self.arm.version)
        self._write(draft, self.arm.name, outcome, answer)

    def close(self) -> None:
        """Stop: what waits is dropped:shutdown, what is under way is cut off as a timeout of the arm."""
        self.retire()
        while self._doomed:
            self._drop_doomed()
        for copy in list(self._under_way):
            if copy.leg is not None:
                copy.leg.cancel()

    def retire(self) -> None:
        """The arm is no more, or no longer as it was: what waits or is still offered is dropped:shutdown, what is under
        way may come to its end."""
        self._open = False
        self._pool.close()
        # Dropped in turns: tens of thousands may wait, and the primary's answers must not wait for them.
        self._doomed.extend(self._queue)
        self._queue.clear()
        self._shed()

    def cut(self) -> None:
        """What is under way is called back and is dropped:shutdown; for an abort."""
        self._cut(deque(self._under_way))

    def ask(self, copy: Copy) -> str:
        """Send at once what a user waits for; otherwise why not, for it must not wait for a slot."""
        if not self._open or self._queue or len(self._under_way) >= self.arm.concurrency:
            return "busy"
        if not self._breaker.allows():
            return "breaker_open"
        copy.offered_at = now = monotonic()
        self.queued_bytes += copy.size
        self._begin(copy, now)
        return ""

    def release(self, copy: Copy, end: Exchanged) -> None:
        """The slot is free again, and the breaker hears what the copy told of the arm."""
        self._under_way.discard(copy)
        copy.leg = None
        self.queued_bytes -= copy.size
        if end.error in ("cancelled", ABORTED):
            self._breaker.withdraw(copy.probe)
        else:
            self._breaker.report(bool(end.error) or end.status >= 500, copy.probe)

    def ended(self, copy: Copy, end: Exchanged) -> None:
        """A copy came to its end."""
        self.release(copy, end)
        if end.error == ABORTED:
            self.drop(copy.draft, "shutdown")
            return
        answer = answer_of(self.arm.version, end, copy.body, copy.queue_us, copy.draft.mask)
        self.decide(copy.draft, _OUTCOMES.get(end.error, ARM_ERROR), answer)
        if self._open:
            self._pump()

    def _pump(self) -> None:
        """Send what waits while there are slots. What waited too long, or waits behind a dead arm, is dropped: some of
        it at once and the rest in later turns of the loop, for the primary's answers must not wait for it."""
        if self._pumping:
            return  # there is a rest, and whoever comes or ends in this turn must not drop as many once more
        now, dropped = monotonic(), 0
        while self._queue and len(self._under_way) < self.arm.concurrency:
            if dropped == DROPPED_AT_ONCE:
                self._pumping = True
                self._loop.call_soon(self._pump_on)
                return
            copy = self._queue.popleft()
            if self._is_stale(copy, now):
                reason = "expired"
            elif self._breaker.allows():
                self._begin(copy, now)
                continue
            else:
                reason = "breaker_open"
            dropped += 1
            self._let_go(copy, reason)

    def _expire(self, now: float) -> None:
        """Drop the oldest, `EXPIRED_FOR_ONE` at most, that have waited too long."""
        for _ in range(EXPIRED_FOR_ONE):
            if not self._queue or not self._is_stale(self._queue[0], now):
                return
            self._let_go(self._queue.popleft(), "expired")

    def _is_stale(self, copy: Copy, now: float) -> bool:
        return now - copy.offered_at > self.arm.queue_seconds

    def _let_go(self, copy: Copy, reason: str) -> None:
        """Drop a copy that has left its queue."""
        self.queued_bytes -= copy.size
        self.drop(copy.draft, reason)

    def _pump_on(self) -> None:
        self._pumping = False
        if self._open:
            self._pump()

    def _shed(self) -> None:
        for _ in range(min(DROPPED_AT_ONCE, len(self._doomed))):
            self._drop_doomed()
        if self._doomed:
            self._loop.call_soon(self._shed)

    def _drop_doomed(self) -> None:
        self._let_go(self._doomed.popleft(), "shutdown")

    def _cut(self, copies: deque[Copy]) -> None:
        for _ in range(min(DROPPED_AT_ONCE, len(copies))):
            copy = copies.popleft()
            if copy.leg is not None:
                copy.leg.give_up(ABORTED)
        if copies:
            self._loop.call_soon(self._cut, copies)

    def _begin(self, copy: Copy, now: float) -> None:
        copy.queue_us = int((now - copy.offered_at) * 1e6)
        self._under_way.add(copy)
        copy.probe = self._breaker.open
        # Within this turn of the loop the leg cannot end yet, so the copy knows it before it is told anything.
        copy.leg = Leg(self._pool, copy, copy.draft.method.encode(), copy.payload, True)
        copy.payload = b""


_OUTCOMES: Final = {"": PAIRED, "timeout": ARM_TIMEOUT, "cancelled": ARM_TIMEOUT}
"""By the error of the exchange; any other is an error of the arm. A status of 500 and more is an answer, so a pair."""
