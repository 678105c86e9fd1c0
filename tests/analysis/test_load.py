from __future__ import annotations

import random
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.adapters import ranked_list
from analysis.reading import ABSENT, ANSWERED, FAILED, FAILED_SOURCE, MISSING
from shadow.contracts import ARM_ERROR, ARM_TIMEOUT, CLIENT_CANCELLED, PRIMARY_ERROR, Answer
from shadow.segments import read_pairs
from tests.analysis.pair_logs import POPULAR, START_US, TAIL, TripleReader, World, answer, record, simulated, write_log


def hashes(*request_ids):
    return [int.from_bytes(blake2b(each.encode(), digest_size=8).digest(), "little") for each in request_ids]


def read(*records):
    reader = TripleReader(ranked_list, TAIL)
    return reader.read(records), reader.tally


def sources(side):
    return [side.names[code] for code in side.sources]


def empty(side):
    return side.table.empty[side.lists].tolist()


def overlaps(arm):
    return arm.with_primary(arm.matches.overlap()).tolist()


def test_both_arms_of_a_request_are_joined_by_its_id():
    other = answer(["i0", "i100"], "hybrid", upstream_us=700, connect_us=20, queue_us=9000)
    triples, _ = read(
        record(0, request_id="r", arm_answer=other),
        record(1, request_id="r", arm="control"),
        record(2, request_id="s", event_us=START_US + 1),
    )
    shadow, control = triples.arms["shadow"], triples.arms["control"]
    assert triples.requests.tolist() == hashes("r", "s")
    assert shadow.state.tolist() == [ANSWERED, ANSWERED]
    assert control.state.tolist() == [ANSWERED, ABSENT]
    assert shadow.latency_us.tolist() == [720, 5000]
    assert shadow.tail.tolist() == [0.5, 0.0]
    assert overlaps(shadow) == [0.1, 1.0]
    assert shadow.identical.tolist() == [False, True]
    assert sources(shadow) == ["hybrid", "popular"]
    assert sources(triples) == ["popular", "popular"]


@pytest.mark.parametrize(
    ("outcome", "given_answer", "state"),
    [
        ("paired", answer([]), ANSWERED),
        ("paired", answer(status=500), FAILED),
        ("paired", answer(status=404), FAILED),
        ("paired", Answer(version="v", status=200, body="<html>"), FAILED),
        ("paired", answer(truncated=True), MISSING),
        (ARM_ERROR, Answer(version="v", status=0, error="refused"), FAILED),
        (ARM_TIMEOUT, None, FAILED),
        ("dropped:breaker_open", None, FAILED),
        ("dropped:expired", None, FAILED),
        ("dropped:queue_full", None, MISSING),
        ("dropped:shutdown", None, MISSING),
        (CLIENT_CANCELLED, answer(), MISSING),
        ("an outcome of tomorrow", answer(), MISSING),
    ],
)
def test_what_becomes_of_a_copy(outcome, given_answer, state):
    triples, tally = read(record(0, outcome=outcome, arm_answer=given_answer))
    shadow = triples.arms["shadow"]
    assert shadow.state.tolist() == [state]
    assert sum(tally.missing.get("shadow", {}).values()) == (state == MISSING)
    assert tally.outcomes["shadow"] == {outcome: 1}
    if state == FAILED:
        assert (empty(shadow), sources(shadow)) == ([True], [FAILED_SOURCE])
        assert (shadow.tail[0], shadow.latency_us[0]) == (0, -1)


def test_without_an_answer_of_the_primary_there_is_nothing_to_compare():
    broken = [record(n, primary=answer(status=500), arm_answer=answer()) for n in range(2)]
    gone = record(2, outcome=PRIMARY_ERROR, no_primary=True)
    mistake = record(3, primary=answer(status=422), arm_answer=answer(status=422))
    triples, tally = read(*broken, gone, mistake)
    assert len(triples) == 0
    assert tally.missing["shadow"] == {"primary: status 500": 2, "primary: primary_error": 1}
    assert tally.unusable_primary == {"status 500": 2, "primary_error": 1, "status 422": 1}
    assert tally.client_mistakes == 1


def test_a_request_without_a_user_is_a_cluster_of_its_own():
    triples, _ = read(record(0, unit=""), record(1, unit=""), record(2, unit="", request_id="r1", arm="control"))
    assert len(set(triples.users.tolist())) == len(triples) == 2
    assert triples.buckets.tolist() == [-1, -1]


def test_a_second_record_of_the_same_copy_is_counted_and_the_earlier_stands():
    later = record(9, request_id="r", arm_answer=answer(["i100"]))
    earlier = record(1, request_id="r")
    for order in ([earlier, later], [later, earlier]):
        triples, tally = read(*order)
        assert tally.duplicates == 1
        assert triples.arms["shadow"].tail.tolist() == [0.0]


def test_an_id_on_two_different_requests_joins_nothing_wrongly():
    triples, tally = read(record(0, request_id="r", unit="a"), record(1, request_id="r", unit="b", arm="control"))
    assert tally.reused_ids == 1
    assert len(set(triples.users.tolist())) == len(triples) == 2
    states = {arm: triples.arms[arm].state.tolist() for arm in ("shadow", "control")}
    assert sorted(zip(*states.values(), strict=True)) == [(ABSENT, ANSWERED), (ANSWERED, ABSENT)]


def test_the_tally_knows_versions_and_the_window():
    _, tally = read(record(0, event_us=5), record(1, event_us=3, arm_answer=answer(version="challenger:b")))
    assert (tally.first_event_us, tally.last_event_us, tally.last_arrival_us) == (3, 5, 5)
    assert tally.versions["primary"] == {"champion:aaaaaaaaaaaa": 2}
    assert tally.versions["shadow"] == {"champion:aaaaaaaaaaaa": 1, "challenger:b": 1}


def test_nothing_read_is_an_empty_table():
    triples, tally = read()
    assert len(triples) == 0
    assert tally.first_event_us is None


def test_real_segments_give_what_their_records_give(tmp_path):
    records = list(simulated(World(users=40, shadow_errors=0.05)))
    log = read_pairs(write_log(tmp_path, records, per_segment=50), "demo")
    from_segments, _ = read(*log)
    directly, _ = read(*records)
    assert log.health.complete
    assert from_segments.requests.tolist() == directly.requests.tolist()
    assert from_segments.arms["shadow"].latency_us.tolist() == directly.arms["shadow"].latency_us.tolist()


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_the_order_of_records_does_not_matter(seed):
    records = list(simulated(World(users=15, shadow_errors=0.2)))
    shuffled = random.Random(seed).sample(records, len(records))
    (first, _), (second, _) = read(*records), read(*shuffled)
    for name in ("requests", "users", "tail"):
        assert getattr(first, name).tolist() == getattr(second, name).tolist()
    assert sources(first) == sources(second)
    for arm in ("shadow", "control"):
        one, other = first.arms[arm], second.arms[arm]
        for name in ("state", "latency_us", "tail", "identical"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
        for found in (sources, empty, overlaps):
            assert found(one) == found(other), found


def test_rows_can_be_taken_as_a_log_of_their_own():
    triples, _ = read(record(0), record(1, primary=answer(["i100"]), arm_answer=answer(POPULAR)))
    part = triples.take(triples.tail > 0)
    assert part.requests.tolist() == hashes("r1")
    assert part.arms["shadow"].state.tolist() == [ANSWERED]


def test_requests_of_the_very_same_time_are_joined_whichever_router_wrote_their_records_in_whatever_order():
    draw = random.Random(3)
    rows = [
        record(sequence, arm=arm, request_id=f"r{number}", unit=f"u{number % 3}", event_us=START_US + number % 2,
               incarnation=f"inc{number % 2}", arm_answer=answer([f"i{number}"]))
        for sequence, (number, arm) in enumerate((number, arm) for number in range(12) for arm in ("shadow", "control"))
    ]  # fmt: skip
    reader = TripleReader(ranked_list, TAIL)
    ordered = reader.read(rows)
    for _ in range(5):
        draw.shuffle(rows)
        triples = reader.read(rows)
        assert (len(triples), reader.tally.duplicates, reader.tally.reused_ids) == (12, 0, 0)
        assert all((arm.state == ANSWERED).all() for arm in triples.arms.values())
        lists = [triples.table.lists[arm.lists].tolist() for arm in triples.arms.values()]
        assert lists[0] == lists[1]
        for name in ("requests", "users", "event_us"):
            assert np.array_equal(getattr(triples, name), getattr(ordered, name))
