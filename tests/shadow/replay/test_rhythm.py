"""When requests are due: by hand, then against numerical integration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from shadow.replay.rhythm import as_it_was, bounded, constant, daily, speed_for

HOUR = 3_600


def test_event_time_is_shrunk_to_the_given_seconds() -> None:
    times = [0, 50, 100]
    assert as_it_was(times, speed_for(times, 10)) == [0, 5, 10]
    assert as_it_was([7_000_000, 9_000_000], 4) == [0, 0.5]
    assert as_it_was([3, 3], speed_for([3, 3], 10)) == [0, 0]


def test_a_burst_is_spread_out_to_the_highest_rate() -> None:
    assert bounded([0, 0, 0, 1], 2) == [0, 0.5, 1.0, 1.5]


def test_a_constant_rate_is_even() -> None:
    assert constant(4, 2) == [0, 0.5, 1, 1.5]


def test_a_day_has_its_lowest_hours_at_night_and_its_highest_at_noon() -> None:
    # One request a second for a day: 86,400, of which an hour has 3,600 (1 ∓ 0.6 · (sin(π/12)/(π/12))).
    due = np.array(daily(86_400, 1.0, 1.6))
    swing = 0.6 * math.sin(math.pi / 24) / (math.pi / 24)
    night = ((due < HOUR / 2) | (due >= 86_400 - HOUR / 2)).sum()
    noon = ((due >= 11.5 * HOUR) & (due < 12.5 * HOUR)).sum()
    assert night == pytest.approx(HOUR * (1 - swing), abs=2)
    assert noon == pytest.approx(HOUR * (1 + swing), abs=2)
    assert due[-1] < 86_400


@given(
    st.integers(2, 300),
    st.floats(0.01, 1_000),
    st.floats(1, 1.9),
    st.floats(1, 100_000),
)
def test_the_nth_request_is_due_when_the_integral_of_the_rate_is_n(
    count: int, rate: float, peak: float, day: float
) -> None:
    due = daily(count, rate, peak, day)
    assert all(one <= other for one, other in itertools.pairwise(due))
    last = due[-1]

    def intensity(at: float) -> float:
        return rate * (1 - (peak - 1) * math.cos(2 * math.pi * at / day))

    # Whole days are told by the mean alone; quad takes what is left.
    days = math.floor(last / day)
    rest, _ = quad(intensity, days * day, last, limit=200)
    assert days * day * rate + rest == pytest.approx(count - 1, abs=1e-3, rel=1e-6)


@pytest.mark.parametrize("peak", [0.9, 2.0])
def test_a_peak_that_would_stop_the_night_or_invert_the_day_is_refused(peak: float) -> None:
    with pytest.raises(ValueError, match="peak"):
        daily(1, 1, peak)
