from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.rank_biased_overlap import extrapolated, minimum, overlaps, residual

FIGURE_5 = ("abcdefg", "zcavwxy")
"""The two rankings of figure 5 of Webber, Moffat and Zobel (2010)."""


def test_the_average_overlap_of_figure_5():
    """0, 0, .222, .292, .313, .317, .312 by depth, as the paper prints them (so do the packages that implement it)."""
    shared = overlaps(*FIGURE_5)
    agreement = [shared[depth] / depth for depth in range(1, 8)]
    average = [sum(agreement[:depth]) / depth for depth in range(1, 8)]
    assert [round(each, 3) for each in average] == [0.0, 0.0, 0.222, 0.292, 0.313, 0.317, 0.312]


@pytest.mark.parametrize(
    ("first", "second", "p", "value"),
    [
        # The package rbo 0.1.3 (PyPI), RankingSimilarity(first, second).rbo_ext(p).
        ("abcdefg", "zcavwxy", 0.9, 0.28821728571428573),
        ("abcdefghij", "bacdexyzwv", 0.9, 0.6441962171785715),
        ("abcdefghij", "jihgfedcba", 0.9, 0.5116075656428573),
        ("abcde", "abced", 0.95, 0.9892828124999999),
        ("abcdefghij", "abc", 0.9, 1.0),
        ("xab", "abcdefg", 0.98, 0.6500666666666667),
    ],
)
def test_the_extrapolated_value_is_that_of_another_implementation(first, second, p, value):
    assert extrapolated(first, second, p) == pytest.approx(value, abs=1e-12)


def test_swapping_the_first_two_costs_a_tenth():
    """By hand: all agreements are 1 but the first, whose weight is 1 − p (so has the code of dlukes/rbo, doctest)."""
    assert extrapolated("abcdefg", "bacdefg") == pytest.approx(0.9)
    assert extrapolated("abcdefg", "abcdefg") == pytest.approx(1.0)


def test_lists_by_hand():
    # Depth 1: no agreement; depth 2: 1 of 2. Nothing more is shared: Σ (1−p) p^(d−1) / d from 2 on.
    p = 0.9
    assert minimum("ab", "ca", p) == pytest.approx((1 - p) / p * (-math.log(1 - p) - p))
    assert minimum("ab", "cd", p) == pytest.approx(0)
    # Two lists of one, equal: Σ (1−p) p^(d−1) / d from 1 on; all the rest can still be shared.
    assert minimum("a", "a", p) == pytest.approx(-(1 - p) / p * math.log(1 - p))
    assert minimum("a", "a", p) + residual("a", "a", p) == pytest.approx(1)


def test_empty_lists_say_nothing():
    assert (minimum("", ""), residual("", ""), extrapolated("", "")) == (0, 1, 1)
    assert minimum("", "ab") == 0
    assert extrapolated("ab", "") == 0


def to_the_end(first, second, p, depth=400):
    """RBO of two rankings known down to `depth`, by its definition."""
    one, other, total = set(), set(), 0.0
    for rank in range(depth):
        one.add(first[rank])
        other.add(second[rank])
        total += (1 - p) * p**rank * len(one & other) / (rank + 1)
    return total


FEW = settings(max_examples=40, deadline=None)
lists = st.lists(st.integers(0, 9), unique=True, max_size=8)


@given(lists, lists, st.sampled_from([0.5, 0.8, 0.9]))
@FEW
def test_minimum_and_maximum_are_reached_by_the_worst_and_the_best_rest(first, second, p):
    strangers = [range(1000, 1400), range(2000, 2400)]
    worst = to_the_end([*first, *strangers[0]], [*second, *strangers[1]], p)
    assert minimum(first, second, p) == pytest.approx(worst, abs=1e-12)
    # The best rest gives each list what only the other has, then the same strangers to both.
    first_full = [*first, *(each for each in second if each not in first), *strangers[0]]
    second_full = [*second, *(each for each in first if each not in second), *strangers[0]]
    best = to_the_end(first_full, second_full, p)
    assert minimum(first, second, p) + residual(first, second, p) == pytest.approx(best, abs=1e-12)


@given(lists, lists)
@FEW
def test_it_is_symmetric_and_within_its_bounds(first, second):
    assert extrapolated(first, second) == pytest.approx(extrapolated(second, first))
    assert 0 <= minimum(first, second) <= minimum(first, second) + residual(first, second) <= 1 + 1e-12
    assert 0 <= extrapolated(first, second) <= 1 + 1e-12
