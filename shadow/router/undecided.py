"""Which requests still owe a record, as far as a watermark needs to know: since when.

An idle router has written all it will ever write of what arrived before now, and only it can say so. Requests are not
told apart, for that would cost each of them something: those of one second share a `Span`. Next module:
`shadow.router.pairlog`, which tells the shipper.
"""

from __future__ import annotations


class Span:
    """The requests that arrived between two heartbeats: how many records they owe, and when the earliest arrived."""

    __slots__ = ("earliest_us", "owed")

    def __init__(self) -> None:
        self.owed = 0
        self.earliest_us = -1


class Undecided:
    """All records that are owed. As many spans are kept as have any, so no more than there are requests."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._now = Span()

    def begin(self, arrival_us: int, records: int) -> Span:
        """A request that arrived then will leave so many records; each takes one off what the span owes."""
        span = self._now
        if records:
            # The least, not the first: a wall clock may be set back.
            if not span.owed or arrival_us < span.earliest_us:
                span.earliest_us = arrival_us
            span.owed += records
        return span

    def since(self, now_us: int) -> int:
        """No record is owed for a request that arrived before: `now_us` when none is owed at all. A new span begins."""
        self._spans = [span for span in (*self._spans, self._now) if span.owed]
        self._now = Span()
        return min([now_us, *(span.earliest_us for span in self._spans)])
