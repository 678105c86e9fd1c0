from __future__ import annotations

import pytest

from analysis.adapters import ranked_list
from analysis.load import TripleReader
from analysis.noise import noise_floor
from shadow.contracts import ARM_TIMEOUT
from tests.analysis.pair_logs import START_US, TAIL, World, answer, record, simulated

HOUR_US = 3_600_000_000


def floor(*records):
    return noise_floor(TripleReader(ranked_list, TAIL).read(records), HOUR_US, 0.05)


def test_identical_control_lists_leave_nothing_to_name():
    found = floor(*simulated(World(users=30, fallback=0.5)))
    assert found.identical == found.compared > 0
    assert found.disagreements == ()


def test_lists_that_differ_are_named_by_their_sources_and_only_answers_are_compared():
    other = answer(["i100"], "hybrid")
    rows = [
        record(0, arm="control", arm_answer=other),
        record(1, arm="control", arm_answer=other),
        record(2, arm="control", primary=other, arm_answer=answer()),
        record(3, arm="control"),
        record(4, arm="control", outcome=ARM_TIMEOUT),
        record(5, request_id="r0"),
    ]
    found = floor(*rows)
    assert (found.compared, found.identical) == (4, 1)
    kinds = [(each.primary_source, each.control_source, each.requests) for each in found.disagreements]
    assert kinds == [("popular", "hybrid", 2), ("hybrid", "popular", 1)]


def test_the_same_items_in_another_order_are_another_list():
    found = floor(record(0, arm="control", arm_answer=answer(tuple(f"i{n}" for n in reversed(range(10))))), record(1))
    assert (found.compared, found.identical) == (1, 0)


def test_the_net_difference_takes_the_controls_own_off():
    # Shadow and control both lost the tail: against the primary −1, net of the noise 0; a third user lost it alone.
    tail = answer(["i100"])
    rows = []
    for number, unit in enumerate("abc"):
        base = {"request_id": f"r{number}", "unit": unit, "event_us": START_US + number * HOUR_US, "primary": tail}
        rows.append(record(2 * number, arm_answer=answer(), **base))
        rows.append(record(2 * number + 1, arm="control", arm_answer=tail if unit == "c" else answer(), **base))
    found = floor(*rows)
    assert found.long_tail_net == pytest.approx(-1 / 3)
    assert found.long_tail_net_lower < found.long_tail_net < found.long_tail_net_upper
