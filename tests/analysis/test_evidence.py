from __future__ import annotations

import pytest

from analysis.adapters import ranked_list
from analysis.evidence import evidence
from shadow.contracts import ARM_ERROR, ARM_TIMEOUT
from tests.analysis.pair_logs import START_US, TAIL, TripleReader, answer, record
from tests.analysis.test_gate import ALL, metric, plan

RULES = {entry.name: entry for entry in plan(*(metric(name) for name in ALL)).metrics}
PLAN = plan(*(metric(name) for name in ALL))
HOUR = 3_600_000_000


def value(name: str, *records, unit: str | None = None):
    triples = TripleReader(ranked_list, TAIL).read(records)
    entry = plan(metric(name, unit=unit)).metrics[0] if name != "overlap_at_10" else RULES[name]
    found = evidence(triples, entry, PLAN)
    return found.estimate.value if found.estimate else None, found


def triple(number, unit, shadow, primary=None, control=None, shadow_outcome="paired", control_outcome="paired"):
    base = {"request_id": f"r{number}", "unit": unit, "event_us": START_US + number * HOUR, "primary": primary}
    yield record(2 * number, arm_answer=shadow, outcome=shadow_outcome, **base)
    yield record(2 * number + 1, arm="control", arm_answer=control, outcome=control_outcome, **base)


TAIL_LIST = [f"i{number}" for number in range(100, 110)]


def log(*rows):
    return [each for row in rows for each in row]


def test_the_long_tail_share_is_a_mean_over_users_of_shadow_less_primary():
    # User a: −1 and 0, so −.5; user b: 0. Mean −.25, over requests it would be −1/3.
    rows = log(triple(0, "a", answer(), primary=answer(TAIL_LIST)), triple(1, "a", answer()), triple(2, "b", answer()))
    assert value("long_tail_share", *rows)[0] == pytest.approx(-0.25)


@pytest.mark.parametrize("outcome", [ARM_ERROR, ARM_TIMEOUT, "dropped:breaker_open", "dropped:expired"])
def test_a_failed_call_counts_as_share_zero_as_empty_and_as_error(outcome):
    rows = log(
        triple(0, "a", None, primary=answer(TAIL_LIST), shadow_outcome=outcome),
        triple(1, "b", answer(TAIL_LIST), primary=answer(TAIL_LIST)),
    )
    assert value("long_tail_share", *rows)[0] == pytest.approx(-0.5)
    assert value("empty_lists", *rows)[0] == pytest.approx(0.5)
    assert value("errors", *rows)[0] == pytest.approx(0.5)
    assert value("overlap_at_10", *rows)[0] == pytest.approx(0.5)


def test_a_dropped_copy_is_loss_and_counts_nowhere():
    rows = log(
        triple(0, "a", None, primary=answer(TAIL_LIST), shadow_outcome="dropped:queue_full"), triple(1, "b", answer())
    )
    for name in ("long_tail_share", "empty_lists", "errors"):
        assert value(name, *rows)[0] == 0
        assert value(name, *rows)[1].estimate.requests == 1


def test_an_empty_answer_of_the_shadow_is_empty_but_no_error():
    rows = log(triple(0, "a", answer([])), triple(1, "b", answer()))
    assert value("empty_lists", *rows)[0] == pytest.approx(0.5)
    assert value("errors", *rows)[0] == 0


def test_errors_are_compared_with_the_control_on_the_same_request():
    rows = log(
        triple(0, "a", None, shadow_outcome=ARM_ERROR, control_outcome=ARM_ERROR),
        triple(1, "a", None, shadow_outcome=ARM_ERROR),
        triple(2, "b", answer(), control_outcome=ARM_TIMEOUT),
        triple(3, "b", None, shadow_outcome=ARM_ERROR),
    )
    assert value("errors", *rows)[0] == pytest.approx((1 + 1 - 1) / 4)
    alone = [record(99, unit="c", outcome=ARM_ERROR)]
    assert value("errors", *rows, *alone)[0] == pytest.approx(1 / 4)


def test_latency_is_connecting_plus_upstream_without_the_queue():
    fast, slow = {"upstream_us": 4000, "queue_us": 9_000_000}, {"upstream_us": 6000, "connect_us": 1000}
    rows = log(*(triple(number, f"u{number}", answer(**slow), control=answer(**fast)) for number in range(20)))
    assert value("latency_p95", *rows)[0] == pytest.approx(3.0)
    assert value("latency_p95", *rows, unit="relative")[1].estimate.log


def test_a_failed_call_took_the_deadline():
    rows = log(*(triple(number, f"u{number}", None, shadow_outcome=ARM_ERROR) for number in range(20)))
    found, all_of_it = value("latency_p95", *rows)
    assert found == pytest.approx(2000 - 5)
    assert all_of_it.estimate.at_least


def test_an_answer_slower_than_the_deadline_took_the_deadline():
    slow, usual = answer(upstream_us=5_000_000), answer(upstream_us=1_000_000)
    rows = log(*(triple(number, f"u{number}", slow, control=usual) for number in range(20)))
    found, all_of_it = value("latency_p95", *rows)
    assert found == pytest.approx(2000 - 1000)
    assert all_of_it.estimate.at_least


def test_the_noise_floor_is_the_same_metric_of_the_control():
    rows = log(triple(0, "a", answer(), control=answer(TAIL_LIST)), triple(1, "b", answer()))
    assert value("long_tail_share", *rows)[1].noise_floor == pytest.approx(0.5)
    assert value("overlap_at_10", *rows)[1].noise_floor == pytest.approx(0.5)
    assert value("errors", *rows)[1].noise_floor is None


def test_without_a_control_list_metrics_stand_alone():
    found, all_of_it = value("long_tail_share", record(0))
    assert (found, all_of_it.noise_floor) == (0, None)


def test_nothing_judged_has_no_estimate_but_a_reason():
    dropped = [record(n, arm=arm, outcome="dropped:queue_full") for n, arm in enumerate(("shadow", "control"))]
    for name in ALL:
        found, all_of_it = value(name, *dropped)
        assert found is None
        assert all_of_it.why_none
