"""The watermark: whatever routers do, what arrived at or before it is in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.contracts import Manifest, SegmentEntry
from shadow.watermark import Watermark, watermark, watermark_of
from tests.shadow import written

NOW = 10_000_000_000
SECOND = 1_000_000
UNDECIDED = 30
"""Seconds."""


def entry(last_arrival_us: int, last_event_us: int | None = None) -> SegmentEntry:
    event = last_arrival_us if last_event_us is None else last_event_us
    return SegmentEntry(
        name="x", records=1, bytes=1, sha256="", first_sequence=0, last_sequence=0, first_event_us=0,
        last_event_us=event, last_arrival_us=last_arrival_us,
    )  # fmt: skip


def manifest(name: str, *segments: SegmentEntry, written_us: int = NOW, **others: Any) -> Manifest:
    whole = Manifest(
        experiment="test", incarnation=name, router="r", started_us=0, segments=segments, written_us=written_us
    )
    return msgspec.structs.replace(whole, **others)


@st.composite
def routers(draw: st.DrawFn) -> tuple[list[int], list[int], int, bool]:
    """Arrivals, the times of their decisions, how many of them are uploaded, in that order; whether it ended."""
    arrivals = draw(st.lists(st.integers(0, 500 * SECOND), max_size=12))
    delays = draw(st.lists(st.integers(0, UNDECIDED * SECOND), min_size=len(arrivals), max_size=len(arrivals)))
    decided = sorted(zip(arrivals, delays, strict=True), key=lambda each: each[0] + each[1])
    ended = draw(st.booleans())
    uploaded = len(decided) if ended else draw(st.integers(0, len(decided)))
    return [arrival for arrival, _ in decided], [a + d for a, d in decided], uploaded, ended


@given(st.lists(routers(), min_size=1, max_size=5))
def test_all_that_arrived_before_it_is_uploaded(drawn: list[tuple[list[int], list[int], int, bool]]) -> None:
    manifests = []
    for number, (arrivals, _, uploaded, ended) in enumerate(drawn):
        segments = [entry(arrival) for arrival in arrivals[:uploaded]]
        started = min(arrivals, default=0)
        manifests.append(manifest(str(number), *segments, complete=ended, started_us=started))
    mark = watermark(manifests, NOW, UNDECIDED).arrival_us
    to_come = [arrival for arrivals, _, uploaded, _ in drawn for arrival in arrivals[uploaded:]]
    if mark is None:
        assert not to_come
    else:
        assert all(arrival > mark for arrival in to_come)


def test_it_is_the_least_of_what_live_routers_have_uploaded() -> None:
    both = [manifest("a", entry(500 * SECOND), entry(400 * SECOND)), manifest("b", entry(300 * SECOND, 7 * SECOND))]
    found = watermark(both, NOW, undecided_seconds=30)
    assert found == Watermark(arrival_us=270 * SECOND, event_us=-23 * SECOND, live=("test/a", "test/b"))


def test_who_said_goodbye_holds_nothing_back_and_without_live_routers_it_is_the_latest_record() -> None:
    done, other = manifest("a", entry(5), complete=True), manifest("b", entry(900 * SECOND))
    assert watermark([done, other], NOW, 0).arrival_us == 900 * SECOND
    assert watermark([done], NOW).arrival_us == 5
    assert watermark([], NOW) == Watermark(arrival_us=None, event_us=None)
    assert watermark([manifest("a", complete=True)], NOW).arrival_us is None


def test_a_live_router_without_records_holds_it_at_its_start() -> None:
    assert watermark([manifest("a", started_us=70), manifest("b", entry(100))], NOW, 0).arrival_us == 70


@pytest.mark.parametrize(("age", "live"), [(899, True), (900, True), (901, False)])
def test_a_router_that_is_silent_for_too_long_is_given_up_and_named(age: int, live: bool) -> None:
    silent = manifest("a", entry(1), written_us=NOW - age * SECOND)
    found = watermark([silent, manifest("b", entry(50))], NOW, 0, silent_seconds=900)
    assert found.arrival_us == (1 if live else 50)
    assert (found.live, found.given_up) == ((("test/a", "test/b"), ()) if live else (("test/b",), ("test/a",)))


def test_a_manifest_of_before_version_3_is_as_old_as_its_newest_record() -> None:
    old = manifest("a", entry(-1, last_event_us=NOW - 5 * SECOND), written_us=0)
    assert watermark([old], NOW, 0) == Watermark(
        arrival_us=NOW - 5 * SECOND, event_us=NOW - 5 * SECOND, live=("test/a",)
    )
    assert watermark([old], NOW + 901 * SECOND, 0).given_up == ("test/a",)


def test_the_watermark_of_a_log_is_read_from_its_manifests(tmp_path: Path) -> None:
    last = written.START_US + 29 * SECOND
    written.incarnation(tmp_path, [written.pair(number) for number in range(30)], complete=False, written_us=last)
    assert watermark_of(tmp_path, now_us=last) == Watermark(
        arrival_us=last - UNDECIDED * SECOND, event_us=last - UNDECIDED * SECOND, live=("test/one",)
    )
    assert watermark_of(tmp_path, "test", last + 3_600 * SECOND) == Watermark(
        arrival_us=last, event_us=last, given_up=("test/one",)
    )
