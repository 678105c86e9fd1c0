"""Times of a report as people read them. Next module: `analysis.report.html`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def utc(microseconds: int) -> str:
    """Microseconds since the epoch as "2000-12-02 00:00 UTC"; times no calendar has are given as they are."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} µs"
    return moment.strftime("%Y-%m-%d %H:%M UTC")
