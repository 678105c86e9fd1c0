"""What the bench of the router computes from its measurements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.bench.router_numbers import Slope, Spread, quantiles_ms, table


def test_quantiles_of_a_hundred_values_are_those_values() -> None:
    found = quantiles_ms([number / 1000 for number in range(100, 0, -1)])
    assert found == pytest.approx({"p50": 50, "p90": 90, "p99": 99, "p999": 100, "max": 100})


def test_nothing_has_no_quantiles() -> None:
    assert quantiles_ms([]) == {}


@given(some.lists(some.floats(0, 100), min_size=1))
def test_a_quantile_is_an_observed_value_with_enough_below_it(values: list[float]) -> None:
    found = quantiles_ms(values)
    for name, share in {"p50": 0.5, "p99": 0.99, "max": 1.0}.items():
        at_most = sum(value * 1e3 <= found[name] for value in values)
        assert any(value * 1e3 == found[name] for value in values)
        assert at_most >= share * len(values) - 1e-9


def test_the_slope_of_a_line_is_its_own_with_no_doubt() -> None:
    line = Slope.of([0, 1, 2, 3], [5, 7, 9, 11])
    assert (line.each, line.low, line.high) == pytest.approx((2, 2, 2))
    assert not line.zero


def test_what_does_not_move_has_no_slope() -> None:
    line = Slope.of([0, 1, 2, 3], [5, 5, 5, 5])
    assert (line.each, line.low, line.high) == (0, 0, 0)
    assert line.zero


def test_the_slope_and_its_interval_are_those_of_the_textbook() -> None:
    # x 1…5, y 2 4 5 4 5: Sxx 10, Sxy 6, residual sum of squares 2.4, so s² = .8, error √.08, t(.975, 3) = 3.1824.
    line = Slope.of([1, 2, 3, 4, 5], [2, 4, 5, 4, 5])
    assert line.each == pytest.approx(0.6)
    assert line.high - line.each == pytest.approx(3.18244630528 * 0.08**0.5)


def test_the_interval_holds_the_true_slope_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    times = list(range(30))
    found = [Slope.of(times, list(rng.normal(0, 1, 30))).zero for _ in range(1_000)]
    assert 0.93 < np.mean(found) < 0.97


def test_too_few_points_are_told() -> None:
    with pytest.raises(ValueError, match="three at different times"):
        Slope.of([1, 1, 2], [1, 2, 3])


def test_a_spread_is_median_and_range() -> None:
    assert Spread.of([3, 1, 10]) == Spread(3, 1, 10)
    assert Spread.of([3, 1, 10]).text() == "3.0 (1.0 – 10.0)"
    assert Spread.of([-1]).text(2, sign=True) == "-1.00 (-1.00 – -1.00)"
    with pytest.raises(ValueError, match="no round"):
        Spread.of([])


def test_the_columns_of_a_table_stand_below_each_other() -> None:
    lines = table(["a", "long head"], [["first", 1], ["b", "22"]]).splitlines()
    assert lines == [
        "| a     | long head |",
        "|-------|----------:|",
        "| first |         1 |",
        "| b     |        22 |",
    ]
