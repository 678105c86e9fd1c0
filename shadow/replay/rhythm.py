"""When each request of a replay is due: as it was, at a constant rate, or with the rhythm of days.

Pure functions of event times; all results are seconds from the start, ascending. Next module: `shadow.replay.plan`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

DAY_SECONDS: Final = 86_400.0
HIGHEST_PEAK: Final = 1.9
"""Of a day over its mean; at 2 nothing at all would be due at its lowest hour."""
STEPS: Final = 50
"""Most that Newton's method may take; it needs about five."""


def as_it_was(event_times_us: Sequence[int], speed: float) -> list[float]:
    """The gaps of event time, `speed` times as fast."""
    first = event_times_us[0]
    return [(time_us - first) / 1e6 / speed for time_us in event_times_us]


def speed_for(event_times_us: Sequence[int], seconds: float) -> float:
    """The speed that shrinks the span of event time to `seconds`."""
    return max(1, event_times_us[-1] - event_times_us[0]) / 1e6 / seconds


def constant(count: int, rate: float) -> list[float]:
    """`rate` requests a second, evenly."""
    return [number / rate for number in range(count)]


def daily(count: int, rate: float, peak: float, day_seconds: float = DAY_SECONDS) -> list[float]:
    """`rate` requests a second in the mean, `peak` times that at the highest and 2 − `peak` at the lowest hour.

    λ(t) = rate · (1 − (peak − 1) · cos(2πt/day)): it starts at the lowest, half a day later it is at the highest.
    Request n is due when ∫λ = n, so nothing here is random. `ValueError` for a peak out of range.
    """
    if not 1 <= peak <= HIGHEST_PEAK:
        raise ValueError(f"peak: {peak} is not between 1 and {HIGHEST_PEAK}")
    turn = 2 * math.pi / day_seconds
    return [_anomaly(turn * number / rate, peak - 1) / turn for number in range(count)]


def _anomaly(mean: float, eccentricity: float) -> float:
    """E of Kepler's equation E − e · sin E = M: a day's rhythm is a planet's year.

    Newton's method from π converges for every M in [0, 2π] and e < 1: between there and the root E − e · sin E is bent
    to one side (Charles and Tatum, Celestial Mechanics and Dynamical Astronomy 69, 1998).
    """
    years, rest = divmod(mean, 2 * math.pi)
    at = math.pi
    for _ in range(STEPS):
        step = (rest - at + eccentricity * math.sin(at)) / (1 - eccentricity * math.cos(at))
        at += step
        if abs(step) < 1e-12:
            break
    return years * 2 * math.pi + at


def bounded(due: Sequence[float], most: float) -> list[float]:
    """Never more than `most` requests a second: a burst is spread out, so the end may come later."""
    spread: list[float] = []
    for wanted in due:
        spread.append(max(wanted, spread[-1] + 1 / most) if spread else wanted)
    return spread
