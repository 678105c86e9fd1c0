"""What manifests say: heartbeats behind all that came before them, segments in order, records when complete."""

from __future__ import annotations

import msgspec

from shadow.contracts import Goodbye, Heartbeat, Hello, Manifest, SegmentEntry
from shadow.router.account import Account, Heartbeats


def beat(numbered: int, dropped: int = 0) -> Heartbeat:
    return Heartbeat(
        incarnation="one", sent_us=numbered + 1, decided_us=numbered + 2, numbered=numbered, dropped=dropped
    )


def entry(first: int) -> SegmentEntry:
    return SegmentEntry(
        name=f"{first}", records=10, bytes=1, sha256="", first_sequence=first, last_sequence=first + 9,
        first_event_us=0, last_event_us=0,
    )  # fmt: skip


def account() -> Account:
    return Account(Manifest(experiment="test", incarnation="one", router="r", started_us=1), 300.0)


def test_a_heartbeat_is_told_when_the_store_has_all_that_came_before_it() -> None:
    heard = Heartbeats()
    heard.hear(beat(3), None)
    heard.hear(beat(10), 5)
    heard.hear(beat(12), 5)
    heard.hear(beat(15), 15)
    assert heard.before(2) is None
    assert heard.before(5) == beat(3)
    assert heard.before(11) is None
    assert heard.before(12) == beat(12)
    assert heard.before(None) == beat(15)
    assert heard.before(None) is None


def test_of_the_heartbeats_of_one_segment_or_of_none_only_the_last_is_kept() -> None:
    heard = Heartbeats()
    for number in range(1_000):
        heard.hear(beat(number), 0)
    for _ in range(1_000):
        heard.hear(beat(1_000), None)
    assert len(heard._waiting) == 2


def test_the_key_id_is_taken_over_from_hello_and_stays_when_a_later_one_does_not_tell_it() -> None:
    told = account()
    hello = Hello(experiment="test", incarnation="one", router="r", started_us=1)
    assert not told.greet(hello)
    assert told.greet(msgspec.structs.replace(hello, key_id="0badcafe"))
    assert not told.greet(hello)
    assert told.spools(()).key_id == told.stores((), [], None, True).key_id == "0badcafe"


def test_until_all_is_there_the_manifest_tells_what_the_heartbeats_told_and_no_records() -> None:
    told = account()
    told.hear(beat(20, dropped=2), None)
    assert told.settle(None)
    assert not told.settle(None)
    told.add(entry(20))
    told.finish(Goodbye(incarnation="one", records=40, dropped=5))
    early = told.stores((), [entry(20)], None, True)
    assert (early.complete, early.records, early.numbered, early.dropped, early.told_us) == (False, -1, 20, 2, 21)
    whole = told.stores((), [], None, True)
    assert (whole.complete, whole.records, whole.dropped) == (True, 40, 5)


def test_of_what_an_earlier_shipper_left_with_a_goodbye_nothing_is_told_before_it_is_complete() -> None:
    left = account()
    left.finish(Goodbye(incarnation="one", records=10, dropped=5))
    left.add(entry(0))
    early = Account(left.spools(()), 300.0).stores((), [entry(0)], None, True)
    assert (early.complete, early.records, early.numbered, early.dropped) == (False, -1, -1, 0)


def test_what_lies_behind_a_segment_that_is_not_closed_is_not_listed_before_that_is_there() -> None:
    told = account()
    for first in (0, 20):
        told.add(entry(first))
    assert [each.first_sequence for each in told.stores((), [], 10, False).segments] == [0]
    told.add(entry(10))
    assert [each.first_sequence for each in told.stores((), [entry(10)], None, True).segments] == [0]
    assert [each.first_sequence for each in told.stores((), [], None, True).segments] == [0, 10, 20]
    assert [each.first_sequence for each in told.manifest.segments] == [0, 10, 20]
    assert msgspec.json.decode(msgspec.json.encode(told.manifest), type=Manifest) == told.manifest
