from __future__ import annotations

import numpy as np
import pytest

from analysis.loss import watermark_check
from analysis.verdict import OK, VETO, WARN
from tests.analysis.pair_logs import START_US, answer, record
from tests.analysis.test_health import checks

HOUR_US = 3_600_000_000


def rows(lost, n: int = 4000, took=None, **others):
    """Requests of as many users, one a minute; request i is lost where lost(i, its latency)."""
    rng = np.random.default_rng(1)
    latency = rng.lognormal(8.5, 0.5, n).astype(int).tolist() if took is None else took
    return [
        record(
            number,
            unit=f"u{number}",
            bucket=number * 1_000_000 // n,
            event_us=START_US + number * 60_000_000,
            primary=answer(upstream_us=latency[number]),
            arm_answer=answer(),
            outcome="dropped:queue_full" if lost(number, latency[number]) else "paired",
            **others,
        )
        for number in range(n)
    ]


def test_loss_that_is_spread_evenly_stands_out_nowhere():
    found = checks(*rows(lambda number, _: number % 60 == 0))
    assert found["pair loss: shadow"].state == WARN
    for kind in ("latency", "source", "hour"):
        assert found[f"loss by {kind}: shadow"].state == OK


def test_the_same_share_lost_among_the_slowest_vetoes():
    """1.5 % in all, within the plan's 2 %, but 15 % of the slowest tenth: without them a shadow looks fast."""
    found = checks(*rows(lambda number, took: took > 9300 and number % 6 == 0))
    assert found["pair loss: shadow"].state == WARN
    check = found["loss by latency: shadow"]
    assert check.state == VETO
    assert "tenth 10 of the primary's latencies" in check.found


def test_an_hour_of_loss_is_told_and_vetoes_nothing():
    found = checks(*rows(lambda number, _: 600 <= number < 640))
    check = found["loss by hour: shadow"]
    assert (check.state, found["loss by latency: shadow"].state) == (WARN, OK)
    assert check.found == "2000-12-02 10 h: 40 of 60 lost (66.67 %)"


def test_one_hour_in_many_loses_some_by_chance():
    """7 of 60 where 2 % is allowed has p = 2e-4 for an hour that was named before, and there are 67."""
    found = checks(*rows(lambda number, _: 600 <= number < 607))
    assert found["loss by hour: shadow"].state == OK


def test_loss_behind_one_source_vetoes():
    usual = rows(lambda number, _: False, n=1000)
    rare = [
        record(2000 + n, unit=f"v{n}", event_us=START_US, primary=answer(source="fold_in"), outcome=outcome)
        for n, outcome in enumerate(["dropped:queue_full"] * 8 + ["paired"] * 12)
    ]
    check = checks(*usual, *rare)["loss by source: shadow"]
    assert check.state == VETO
    assert check.found == "fold_in: 8 of 20 lost (40.00 %)"


@pytest.mark.parametrize(
    ("back", "affected", "expected"), [(0, 0, OK), (30, 0, OK), (7200, 5, WARN), (7200, 500, VETO)]
)
def test_a_clock_that_was_set_back_is_found_by_the_routers_numbers(back, affected, expected):
    """Between records of one router up to a minute is their deadlines' doing."""
    moved = [
        record(n, unit=f"u{n}", event_us=START_US + n * 1_000_000 - back * 1_000_000 * (n >= 1000 - max(affected, 1)))
        for n in range(1000)
    ]
    assert checks(*moved)["clocks"].state == expected


def test_two_routers_need_not_have_the_same_clock():
    routers = [record(n, unit=f"u{n}", event_us=START_US + n, incarnation="b") for n in range(50)]
    routers += [record(n, unit=f"v{n}", event_us=START_US + 9 * HOUR_US + n, incarnation="a") for n in range(50)]
    assert checks(*routers)["clocks"].state == OK


def test_a_beginning_that_is_much_slower_is_told():
    def log(slow: int):
        return [
            record(n, unit=f"u{n}", event_us=START_US + n, arm_answer=answer(upstream_us=slow if n < 250 else 5000))
            for n in range(5000)
        ]

    assert checks(*log(9000))["warm-up"].state == OK
    found = checks(*log(20_000))["warm-up"]
    assert found.state == WARN
    assert "shadow: 20.00 ms against 5.00 ms" in found.found
    assert checks(*log(20_000)[:1000])["warm-up"].state == OK


def test_what_was_left_out_after_the_watermark_is_told():
    assert watermark_check(0, 10) == ()
    (some,), (most,) = watermark_check(3, 10), watermark_check(30, 10)
    assert (some.state, most.state) == (OK, WARN)
    assert some.found == "3 of 13 records arrived after the watermark and were left out"
