"""The breaker of an arm that fails and fails. Next module: `shadow.router.mirror`, which asks it."""

from __future__ import annotations

from collections.abc import Callable


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

    def withdraw(self, probe: bool) -> None:
        """A copy was called back: that tells nothing, and after a `probe` the next one may be it."""
        if probe:
            self._probing = False

    def report(self, failed: bool, probe: bool) -> None:
        """A copy ended; `probe` when it was let through while this was open. What was sent before it opened tells
        nothing of the arm as it is now: while open, only the probe counts."""
        if self.open and not probe:
            return
        self._probing = False
        self._in_a_row = self._in_a_row + 1 if failed else 0
        if self.open:
            self._probe_at = self._clock() + self._seconds
