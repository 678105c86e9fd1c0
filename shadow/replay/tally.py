"""What a replay counts: how many were sent, what came back, how long it took.

The counts are the client's part of the accounting identity: every request that was sent has one status or one error.
Next module: `shadow.replay.client`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

KILLED: Final = "killed before its answer"
"""Error of a request that was under way when a replay was killed; whether it arrived is not known."""


class Tally:
    """What came back."""

    def __init__(self) -> None:
        self.sent = 0
        self.events = 0
        """Of those sent, the events: they change what a service knows, and ask for no list."""
        self.statuses: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.empty = 0
        self.latencies: list[float] = []
        """Of requests for lists, in seconds from the moment they were due; of this run only."""
        self.late: list[float] = []
        """How long after its time each request was sent: the client's own share of its latency."""
        self.seconds = 0.0

    def document(self) -> dict[str, Any]:
        """As `--json-out` writes it. Latencies in milliseconds from the moment a request was due."""
        return self.counts() | {"latency_ms": quantiles_ms(self.latencies), "late_ms": quantiles_ms(self.late)}

    def counts(self) -> dict[str, Any]:
        """All but the latencies: what goes on over an interruption."""
        return {
            "requests": self.sent,
            "events": self.events,
            "answered": sum(self.statuses.values()),
            "statuses": dict(self.statuses),
            "errors": dict(self.errors),
            "empty": self.empty,
            "sources": dict(self.sources),
            "seconds": round(self.seconds, 3),
        }

    def take_up(self, counts: Mapping[str, Any]) -> None:
        """Go on from an earlier run's `counts`. What was under way then has neither status nor error: it gets one."""
        self.sent, self.events, self.empty = counts["requests"], counts["events"], counts["empty"]
        self.statuses.update(counts["statuses"])
        self.errors.update(counts["errors"])
        self.sources.update(counts["sources"])
        if unknown := self.sent - sum(self.statuses.values()) - lost(self.errors):
            self.errors[KILLED] += unknown


NOT_LOST: Final = ("unreadable body", "replay ran out of time")
"""Errors beside a status, and of what was never sent."""


def lost(errors: Mapping[str, int]) -> int:
    """How many of those sent got no status."""
    return sum(number for error, number in errors.items() if error not in NOT_LOST)


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max in milliseconds; zeros of nothing."""
    ordered = sorted(seconds) or [0.0]
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[min(last, int(share * len(ordered)))] * 1e3, 3) for name, share in shares.items()}
