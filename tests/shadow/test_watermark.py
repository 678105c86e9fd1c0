"""The watermark: whatever routers do, what arrived at or before it is in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
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


class Life(NamedTuple):
    """One router: what its shipper's manifests were, and when each was there."""

    manifests: list[tuple[int, Manifest]]
    uploads: list[tuple[int, int]]
    """(when its manifest lists it, arrival) of each record."""

    def at(self, moment: int) -> list[Manifest]:
        """The manifest that is there then; none before the first."""
        return [manifest for when, manifest in self.manifests if when <= moment][-1:]


def heard(whole: Manifest, decided: list[tuple[int, int]], told_us: int, moment: int) -> Manifest:
    """The manifest with what a heartbeat of `told_us` says."""
    open_ones = [arrival for when, arrival in decided if arrival <= told_us < when]
    numbered = sum(when <= told_us for when, _ in decided)
    decided_us = min([told_us, *open_ones])
    return msgspec.structs.replace(
        whole, numbered=numbered, told_us=told_us, decided_us=decided_us, written_us=max(moment, told_us)
    )


@st.composite
def lives(draw: st.DrawFn, name: int) -> Life:
    """A router that starts, decides records in time, uploads them in that order, and may end."""
    started = draw(st.integers(0, 300)) * SECOND
    told = draw(st.sampled_from([0, 5, 20, 90])) * SECOND
    longest = told or UNDECIDED * SECOND
    arrivals = [started + draw(st.integers(0, 200 * SECOND)) for _ in range(draw(st.integers(0, 8)))]
    decided = sorted((arrival + draw(st.integers(0, longest)), arrival) for arrival in arrivals)
    whole = Manifest(
        experiment="test", incarnation=str(name), router="r", started_us=started, undecided_us=told,
        segment_us=100 * SECOND, written_us=started,
    )  # fmt: skip
    moment = started + draw(st.integers(0, UNDECIDED * SECOND))
    manifests, uploads = [(moment, whole)], list[tuple[int, int]]()
    tells, there = draw(st.booleans()), 0
    while there < len(decided):
        several = draw(st.integers(1, len(decided) - there))
        segment = decided[there : there + several]
        moment = max(moment, segment[-1][0]) + draw(st.integers(0, 100 * SECOND))
        last = msgspec.structs.replace(
            entry(max(arrival for _, arrival in segment)), first_sequence=there, last_sequence=there + several - 1
        )
        there += several
        whole = msgspec.structs.replace(whole, segments=(*whole.segments, last), written_us=moment)
        manifests.append((moment, whole))
        uploads += [(moment, arrival) for _, arrival in segment]
        if tells:
            # Renewed with a heartbeat of any moment by which no more was decided than is there.
            moment += draw(st.integers(0, 100 * SECOND))
            latest = min([moment, *(when - 1 for when, _ in decided[there:][:1])])
            whole = heard(whole, decided, draw(st.integers(min(started, latest), latest)), moment)
            manifests.append((moment, whole))
    if draw(st.booleans()):
        moment += draw(st.integers(0, 100 * SECOND))
        manifests.append((moment, msgspec.structs.replace(whole, complete=True, written_us=moment)))
    return Life(manifests, uploads)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_nothing_comes_later_that_arrived_before_a_watermark_that_was_given(data: st.DataObject) -> None:
    routers = [data.draw(lives(name)) for name in range(data.draw(st.integers(1, 4)))]
    moments = data.draw(st.lists(st.integers(0, 1_000 * SECOND), min_size=1, max_size=6))
    moments += [when for router in routers for when, _ in router.manifests]
    for moment in sorted(moments):
        mark = watermark([found for router in routers for found in router.at(moment)], moment)
        assert mark.set_back == ()
        if mark.arrival_us is not None:
            later = [arrival for router in routers for when, arrival in router.uploads if when > moment]
            assert all(arrival >= mark.arrival_us for arrival in later)
            assert mark.event_us == mark.arrival_us


def test_each_routers_own_deadlines_hold_it_back() -> None:
    slow = manifest("a", entry(500 * SECOND), undecided_us=200 * SECOND)
    brief = manifest("b", entry(400 * SECOND), undecided_us=5 * SECOND)
    assert watermark([slow, brief], NOW).arrival_us == 300 * SECOND
    assert watermark([brief], NOW).arrival_us == 395 * SECOND


def test_a_router_that_has_just_started_may_not_be_known_yet_so_it_is_never_of_now() -> None:
    ended = manifest("a", entry(NOW - 1), complete=True)
    assert watermark([ended], NOW).arrival_us == NOW - UNDECIDED * SECOND
    assert watermark([msgspec.structs.replace(ended, undecided_us=99 * SECOND)], NOW).arrival_us == NOW - 99 * SECOND
    assert watermark([ended], NOW + 3_600 * SECOND).arrival_us == NOW - 1


@pytest.mark.parametrize(("age", "live"), [(10_800, True), (10_801, False)])
def test_a_shipper_that_renews_rarely_is_given_more_time(age: int, live: bool) -> None:
    rare = manifest("a", entry(1), written_us=NOW - age * SECOND, segment_us=3_600 * SECOND)
    assert (watermark([rare], NOW).live == ("test/a",)) is live


def test_event_time_is_not_promised_while_a_living_router_takes_it_from_headers() -> None:
    header = msgspec.structs.replace(entry(400 * SECOND, 7 * SECOND), header_times=1)
    plain = msgspec.structs.replace(entry(300 * SECOND), header_times=0)
    replay, live = manifest("a", plain, header), manifest("b", plain)
    assert watermark([replay, live], NOW).event_us is watermark([live, replay], NOW).event_us is None
    assert watermark([replay, live], NOW).arrival_us == 270 * SECOND
    ended = msgspec.structs.replace(replay, complete=True)
    assert watermark([ended, live], NOW).event_us == 270 * SECOND
    assert watermark([ended], NOW).event_us == 300 * SECOND


def test_a_clock_that_was_set_back_is_named_and_followed() -> None:
    router = manifest("a", entry(500 * SECOND), entry(100 * SECOND), entry(110 * SECOND))
    assert watermark([router], NOW, UNDECIDED) == Watermark(
        arrival_us=80 * SECOND, event_us=80 * SECOND, live=("test/a",), set_back=("test/a",)
    )
    late = manifest("a", entry(500 * SECOND), entry(480 * SECOND))
    assert watermark([late], NOW, UNDECIDED).set_back == ()


def test_an_idle_router_that_says_so_holds_nothing_back() -> None:
    """By its last record alone it would, until it says goodbye."""
    idle = manifest("a", entry(100 * SECOND), numbered=1, told_us=900 * SECOND, decided_us=900 * SECOND)
    busy = manifest("b", entry(800 * SECOND))
    assert watermark([idle, busy], NOW).arrival_us == 770 * SECOND
    assert watermark([idle], NOW).arrival_us == 900 * SECOND
    assert watermark([msgspec.structs.replace(idle, segments=())], NOW).arrival_us == 900 * SECOND
    assert watermark([idle], 910 * SECOND).arrival_us == 880 * SECOND
    slow = msgspec.structs.replace(idle, decided_us=50 * SECOND)
    assert watermark([slow], NOW).arrival_us == 70 * SECOND


def test_a_heartbeat_that_later_records_belie_was_before_the_clock_was_set_back() -> None:
    later = msgspec.structs.replace(entry(850 * SECOND), first_sequence=1, last_sequence=1)
    router = manifest("a", entry(840 * SECOND), later, numbered=1, told_us=900 * SECOND, decided_us=900 * SECOND)
    across = msgspec.structs.replace(later, first_sequence=0)
    for belied in (router, msgspec.structs.replace(router, segments=(across,))):
        reached = belied.segments[-1].last_arrival_us - UNDECIDED * SECOND
        assert watermark([belied], NOW) == Watermark(
            arrival_us=reached, event_us=reached, live=("test/a",), set_back=("test/a",)
        )


def test_it_is_the_least_of_what_live_routers_have_uploaded() -> None:
    both = [manifest("a", entry(500 * SECOND), entry(490 * SECOND)), manifest("b", entry(300 * SECOND))]
    found = watermark(both, NOW, undecided_seconds=30)
    assert found == Watermark(arrival_us=270 * SECOND, event_us=270 * SECOND, live=("test/a", "test/b"))


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
