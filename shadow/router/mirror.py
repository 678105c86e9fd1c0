"""The copies of one arm: a queue bounded in bytes, a limit of copies under way, a deadline, a breaker, no retries.

`offer` never waits and never raises: what does not fit is dropped with its reason and counted. Nothing here is shared
with the primary. Next module: `shadow.router.records`, what becomes of a copy's end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shadow.contracts import ARM_ERROR, ARM_TIMEOUT, DROPPED, PAIRED, Answer
from shadow.router.config import Arm, upstream
from shadow.router.counters import ArmCounters
from shadow.router.records import Draft, answer_of
from shadow.router.records import as_text as as_text  # tests/contracts/test_pair_record.py still looks for it here
from shadow.router.upstream import Exchanged, Leg, Pool

Write = Callable[[Draft, str, str, Answer | None], None]
"""Takes a decided record: draft, arm, outcome, the arm's answer."""
OVERHEAD_BYTES: Final = 2_048
"""What a waiting copy costs besides its bytes (measured: record, objects, queue entry, about 1.7 KB)."""


@dataclass(slots=True)
class Copy:
    """One copy and the draft of the record that waits for its outcome; `size` is what it counts in the queue."""

    payload: bytes
    draft: Draft
    size: int
    offered_at: float = 0.0


class Breaker:
    """Opens after `failures` in a row; after `seconds` it lets one probe through, whose success closes it."""

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._in_a_row = 0
        self._probe_at = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether copies are dropped."""
        return self._in_a_row >= self._failures

    @property
    def blocks(self) -> bool:
        """Whether a copy would be turned away now: open, and no probe is due."""
        return self.open and (self._probing or self._clock() < self._probe_at)

    def allows(self) -> bool:
        """Whether a copy may go; the probe of an open breaker is given out here."""
        if self.blocks:
            return False
        self._probing = self.open
        return True

    def report(self, failed: bool) -> None:
        """A copy ended."""
        self._probing = False
        self._in_a_row = self._in_a_row + 1 if failed else 0
        if self.open:
            self._probe_at = self._clock() + self._seconds


class Mirror:
    """One arm. `write` takes each decided record."""

    def __init__(self, arm: Arm, counters: ArmCounters, write: Write) -> None:
        self.arm = arm
        self.counters = counters
        self.queued_bytes = 0
        self._write = write
        self._pool = Pool(*upstream("url", arm.url), most_idle=arm.concurrency)
        self._queue: deque[Copy] = deque()
        self._legs: dict[int, tuple[Leg, Copy]] = {}
        self._begun = 0
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker(arm.breaker_failures, arm.breaker_seconds, self._loop.time)
        self._open = True

    @property
    def busy(self) -> bool:
        """Whether any copy waits or is under way."""
        return bool(self._queue or self._legs)

    def offer(self, copy: Copy) -> None:
        """Send the copy when there is room and a slot; drop it otherwise. Never waits."""
        if not self._open:
            self.drop(copy.draft, "shutdown")
        elif self.queued_bytes + copy.size > self.arm.queue_bytes:
            self.drop(copy.draft, "queue_full")
        elif self._breaker.blocks:
            self.drop(copy.draft, "breaker_open")
        else:
            copy.offered_at = self._loop.time()
            self.queued_bytes += copy.size
            self._queue.append(copy)
            self._pump()

    def drop(self, draft: Draft, reason: str) -> None:
        """Decide a request as dropped."""
        self.decide(draft, DROPPED + reason, None)

    def decide(self, draft: Draft, outcome: str, answer: Answer | None) -> None:
        """Count the outcome and write the record; the one way out of `in_flight`."""
        self.counters.decide(outcome)
        self._write(draft, self.arm.name, outcome, answer)

    def close(self) -> None:
        """Stop: what waits is dropped:shutdown, what is under way is cut off as a timeout of the arm."""
        self._open = False
        while self._queue:
            copy = self._queue.popleft()
            self.queued_bytes -= copy.size
            self.drop(copy.draft, "shutdown")
        for leg, _ in list(self._legs.values()):
            leg.cancel()
        self._pool.close()

    def _pump(self) -> None:
        while self._queue and len(self._legs) < self.arm.concurrency:
            copy = self._queue.popleft()
            if self._breaker.allows():
                self._begin(copy)
            else:
                # The breaker opened while it waited: what is behind a dead arm must not wait a deadline each.
                self.queued_bytes -= copy.size
                self.drop(copy.draft, "breaker_open")

    def _begin(self, copy: Copy) -> None:
        queue_us = int((self._loop.time() - copy.offered_at) * 1e6)
        self._begun += 1
        number = self._begun
        # Within this turn of the loop the leg cannot end yet, so it is in the table before it calls back.
        deadline = self.arm.deadline_ms / 1000
        leg = Leg(self._pool, copy.payload, deadline, lambda end: self._ended(number, queue_us, end))
        self._legs[number] = (leg, copy)

    def _ended(self, number: int, queue_us: int, end: Exchanged) -> None:
        _, copy = self._legs.pop(number)
        self.queued_bytes -= copy.size
        failed = bool(end.error) or (end.answer is not None and end.answer.status >= 500)
        self._breaker.report(failed)
        answer = answer_of(self.arm.version, end, queue_us, self.arm.answer_bytes)
        self.decide(copy.draft, _OUTCOMES.get(end.error, ARM_ERROR), answer)
        if self._open:
            self._pump()


_OUTCOMES: Final = {"": PAIRED, "timeout": ARM_TIMEOUT, "cancelled": ARM_TIMEOUT}
"""By the error of the exchange; any other is an error of the arm. A status of 500 and more is an answer, so a pair."""
