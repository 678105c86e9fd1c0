from __future__ import annotations

import random

import pytest

from analysis.adapters import ranked_list
from analysis.estimates import mean
from analysis.evidence import sums
from analysis.measures import MEAN_OF_USERS, MEASURES
from analysis.noise import noise_floor
from shadow.contracts import ARM_TIMEOUT
from tests.analysis.pair_logs import CATALOGUE, POPULAR, START_US, TAIL, TripleReader, World, answer, record, simulated

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


def test_every_metric_of_lists_has_a_net_difference_and_identical_arms_have_none():
    records = list(simulated(World(users=40, fallback=0.5, shadow_empty=0.1)))
    triples = TripleReader(ranked_list, CATALOGUE).read(records)
    nets = {net.name: net for net in noise_floor(triples, HOUR_US, 0.05, MEASURES).nets}
    means = {name for name, each in MEASURES.items() if each.floored and each.average == MEAN_OF_USERS}
    assert nets.keys() == means
    # The control answers as the primary does, so nothing is to be taken off: the net is the difference itself.
    values = {name: mean(sums(triples, name, HOUR_US), MEAN_OF_USERS).value for name in means}
    assert nets["empty_lists"].value == pytest.approx(values["empty_lists"])
    assert nets["overlap_at_10"].value == pytest.approx(values["overlap_at_10"] - 1)
    assert nets["novelty"].lower < nets["novelty"].value < nets["novelty"].upper


def test_what_a_noisy_control_does_too_is_taken_off_and_its_noise_is_in_the_interval():
    """Shadow and control each shuffle half of their lists by a coin of their own."""
    draw, rows, shuffled = random.Random(5), [], tuple(reversed(POPULAR))
    for number in range(400):
        base = {"request_id": f"r{number}", "unit": f"u{number}", "event_us": START_US + number * HOUR_US}
        for place, arm in enumerate(("shadow", "control")):
            items = draw.choice((POPULAR, shuffled))
            rows.append(record(2 * number + place, arm=arm, arm_answer=answer(items), **base))
    triples = TripleReader(ranked_list, CATALOGUE).read(rows)
    (net,) = noise_floor(triples, HOUR_US, 0.05, ["displacement"]).nets
    assert mean(sums(triples, "displacement", HOUR_US), MEAN_OF_USERS).value > 0.15
    assert net.lower < 0 < net.upper


def test_a_request_that_was_not_judged_for_both_is_in_no_net_difference():
    tail = answer(["i100"])
    rows = []
    for number, unit in enumerate("abcd"):
        base = {"request_id": f"r{number}", "unit": unit, "event_us": START_US + number * HOUR_US, "primary": tail}
        rows.append(record(2 * number, arm_answer=tail, **base))
        lost = {"outcome": "dropped:queue_full"} if number < 2 else {"arm_answer": tail}
        rows.append(record(2 * number + 1, arm="control", **lost, **base))
    assert floor(*rows).long_tail_net == 0.0
