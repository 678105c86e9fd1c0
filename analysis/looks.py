"""Looks at data that still come: bounds that keep the error over all of them, and what they cost in sample size.

A statistic z is looked at when a fraction t of the planned information is there. Its law over the looks is that of a
Brownian motion, integrated from look to look (Armitage, McPherson and Rowe 1969) by Gauss–Legendre. Lan and DeMets
(1983) fix only how much error is spent by t, so that neither the number nor the times of the looks need be known
before; O'Brien and Fleming (1979) and Pocock (1977) fix the shape of the bounds and need the times. Pure; scipy's
normal distribution is all it needs. Next modules: `analysis.gate`, `analysis.power`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

Floats = npt.NDArray[np.float64]

OBRIEN_FLEMING: Final = "obrien-fleming"
POCOCK: Final = "pocock"
LAN_DEMETS_OBRIEN_FLEMING: Final = "lan-demets-obrien-fleming"
LAN_DEMETS_POCOCK: Final = "lan-demets-pocock"
KIM_DEMETS: Final = "kim-demets"
HWANG_SHIH_DECANI: Final = "hwang-shih-decani"
FIXED: Final = "fixed"
"""The critical value of a single look at every look: what peeking does. Not a design, only a comparison."""

SHAPES: Final = {OBRIEN_FLEMING: 0.0, POCOCK: 0.5}
"""Δ of Wang and Tsiatis (1987): the bound at t is C·t^(Δ − ½)."""
DESIGNS: Final = (
    LAN_DEMETS_OBRIEN_FLEMING,
    LAN_DEMETS_POCOCK,
    OBRIEN_FLEMING,
    POCOCK,
    KIM_DEMETS,
    HWANG_SHIH_DECANI,
)
PARAMETERS: Final = {KIM_DEMETS: 3.0, HWANG_SHIH_DECANI: -4.0}
"""Where nothing is said: ρ of Kim and DeMets (1987), γ of Hwang, Shih and DeCani (1990)."""

LEAST_STEP: Final = 1e-3
"""Looks nearer than this (of the planned information) say nothing new and would need a very fine integration."""
MOST_LOOKS: Final = 200
FAR: Final = 9.5
"""Standard deviations beyond which a normal density is nothing (1e-21)."""
UNREACHABLE: Final = 38.0
"""A bound above this has a probability no float can hold; it is infinite."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)


@dataclass(frozen=True)
class Looks:
    """Bounds on z at each look. `alpha` is the error of all looks together, of both sides where `sides` is 2.

    `spent` is the error of the upper side up to and with each look. A limit is infinite where what may be spent is
    below what a float can hold.
    """

    design: str
    alpha: float
    sides: int
    fractions: tuple[float, ...]
    limits: tuple[float, ...]
    spent: tuple[float, ...]

    @property
    def nominal(self) -> tuple[float, ...]:
        """The one-sided p-value to stay below at each look."""
        return tuple(float(ndtr(-limit)) for limit in self.limits)


def equal_looks(number: int) -> tuple[float, ...]:
    """The fractions of `number` looks after equal amounts of data, the last at 1."""
    return tuple((look + 1) / number for look in range(number))


def looks(
    fractions: Sequence[float], alpha: float, design: str, *, sides: int = 1, parameter: float | None = None
) -> Looks:
    """The bounds of a design; `fractions` ascend in (0, 1]. `ValueError` says what is wrong with them.

    Spending designs may end before 1, which is how a running experiment asks for the bound of its present look: what
    was spent at earlier fractions is kept.
    """
    times = _checked(fractions, alpha, design, sides)
    side = alpha / sides
    if design == FIXED or design in SHAPES:
        limits = _shaped(times, side, design, sides)
        spent = tuple(float(each) for each in np.cumsum(crossing(times, limits, sides=sides)))
        return Looks(design, alpha, sides, times, limits, spent)
    spent = tuple(spending(design, time, side, parameter) for time in times)
    return Looks(design, alpha, sides, times, _spending_limits(times, spent, sides), spent)


def bounds(information: Sequence[float], spent: Sequence[float], *, sides: int = 1) -> tuple[float, ...]:
    """The upper limits that spend `spent` of one side by each look, at which `information` was there, in any unit.

    What is spent may follow another clock, such as time, than information does (Lan and DeMets 1989): only how looks
    hang together follows information. Looks with nothing new between them are taken `LEAST_STEP` of the whole apart.
    """
    most = information[-1] if information and information[-1] > 0 else 1.0
    times: list[float] = []
    for each in information:
        times.append(max(each / most, (times[-1] if times else 0.0) + LEAST_STEP))
    return _spending_limits(tuple(times), tuple(spent), sides)


def spending(design: str, fraction: float, alpha: float, parameter: float | None = None) -> float:
    """The error of one side that may be spent by `fraction`, of `alpha` in all; nothing at 0, all of it at 1.

    Lan and DeMets (1983): 2 − 2Φ(z₁₋α/₂/√t) like O'Brien and Fleming, α·ln(1 + (e − 1)t) like Pocock; Kim and DeMets
    (1987): α·t^ρ; Hwang, Shih and DeCani (1990): α(1 − e^−γt)/(1 − e^−γ). The same in gsDesign (sfLDOF, sfLDPocock,
    sfPower, sfHSD) and rpact (asOF, asP, asKD, asHSD).
    """
    time = min(max(fraction, 0.0), 1.0)
    chosen = PARAMETERS.get(design, 0.0) if parameter is None else parameter
    if time in (0.0, 1.0):
        return alpha * time
    if design == LAN_DEMETS_OBRIEN_FLEMING:
        return 2 * float(ndtr(ndtri(alpha / 2) / math.sqrt(time)))
    if design == LAN_DEMETS_POCOCK:
        return alpha * math.log1p((math.e - 1) * time)
    if design == KIM_DEMETS:
        if chosen <= 0:
            raise ValueError(f"the parameter of {KIM_DEMETS} must be positive, not {chosen:g}")
        return float(alpha * time**chosen)
    if design == HWANG_SHIH_DECANI:
        return alpha * (math.expm1(-chosen * time) / math.expm1(-chosen) if chosen else time)
    raise ValueError(f"{design} spends by no function; those that do are {', '.join(sorted(_SPENDING))}")


_SPENDING: Final = frozenset(DESIGNS) - frozenset(SHAPES)


def crossing(
    fractions: Sequence[float], limits: Sequence[float], *, drift: float = 0.0, sides: int = 1
) -> tuple[float, ...]:
    """The probability that z first passes the upper limit at each look.

    `drift` is the expected z at fraction 1. With two sides an experiment also ends below the negative limit.
    """
    found: list[float] = []
    density: _Density | None = None
    for number, (time, limit) in enumerate(zip(fractions, limits, strict=True)):
        found.append(_tail(density, time, limit, drift))
        if number + 1 < len(limits):
            step = min(time - (density.time if density else 0.0), fractions[number + 1] - time)
            density = _density(density, time, limit, drift, sides, step)
    return tuple(found)


def power_over(design: Looks, drift: float) -> float:
    """The probability that some look passes its upper bound when z at fraction 1 has the mean `drift`."""
    return float(sum(crossing(design.fractions, design.limits, drift=drift, sides=design.sides)))


def inflation(design: Looks, power: float) -> float:
    """How many times the data of a single look are needed for the same power: (drift / (z₁₋α + z_power))².

    The inflation factor of Jennison and Turnbull (2000), `n.I` of gsDesign and `inflationFactor` of rpact.
    """
    single = float(ndtri(power) - ndtri(design.alpha / design.sides))
    if not 0 < power < 1 or single <= 1e-9 or power_over(design, 0.0) >= power:
        raise ValueError(f"a power of {power:g} is no more than the error that is allowed without any data")
    drift = brentq(lambda each: power_over(design, each) - power, 0.0, single + 20.0, xtol=1e-12, rtol=1e-13)
    return float(drift / single) ** 2


def nominal_so_far(so_far: Sequence[float], planned: Sequence[float], alpha: float, design: str) -> float:
    """The nominal p-value, one side of two, at the last of the looks `so_far`.

    A spending needs no more than those; a fixed shape (`SHAPES`) needs all that are `planned`, these the first of them.
    """
    times = planned if design in SHAPES and planned else so_far
    return looks(times, alpha, design, sides=2).nominal[len(so_far) - 1]


def _checked(fractions: Sequence[float], alpha: float, design: str, sides: int) -> tuple[float, ...]:
    times = tuple(float(each) for each in fractions)
    if design not in (*DESIGNS, FIXED):
        raise ValueError(f"unknown design of looks {design!r}; known are {', '.join(DESIGNS)}")
    if sides not in (1, 2) or not 0 < alpha < 1 or alpha / sides >= 0.5:
        raise ValueError(f"an error of {alpha:g} on {sides} sides is no error of a test")
    if not 1 <= len(times) <= MOST_LOOKS:
        raise ValueError(f"from 1 to {MOST_LOOKS} looks can be planned, not {len(times)}")
    steps = np.diff((0.0, *times))
    if not np.all(steps >= LEAST_STEP) or times[-1] > 1:
        raise ValueError(f"looks must ascend within (0, 1], each at least {LEAST_STEP:g} after the one before")
    if design in SHAPES and times[-1] != 1:
        raise ValueError(f"the bounds of {design} need all looks, up to the last one at 1")
    return times


def _shaped(times: tuple[float, ...], side: float, design: str, sides: int) -> tuple[float, ...]:
    """The limits C·t^(Δ − ½) with the C that keeps the error; for FIXED the critical value of one look."""
    single = -float(ndtri(side))
    if design == FIXED:
        return (single,) * len(times)
    shape = np.asarray(times) ** (SHAPES[design] - 0.5)

    def excess(constant: float) -> float:
        return sum(crossing(times, tuple(constant * shape), sides=sides)) - side

    # Bonferroni's bound at every look is wide enough whatever the looks' times.
    widest = -float(ndtri(side / len(times))) + 1e-9
    constant = brentq(excess, min(single, widest) - 1e-9, widest, xtol=1e-12, rtol=1e-13) if len(times) > 1 else single
    return tuple(float(each) for each in constant * shape)


def _spending_limits(times: tuple[float, ...], spent: tuple[float, ...], sides: int) -> tuple[float, ...]:
    limits: list[float] = []
    density: _Density | None = None
    for number, time in enumerate(times):
        share = spent[number] - (spent[number - 1] if number else 0.0)
        limits.append(_limit(density, time, share))
        if number + 1 < len(times):
            step = min(time - (density.time if density else 0.0), times[number + 1] - time)
            density = _density(density, time, limits[-1], 0.0, sides, step)
    return tuple(limits)


def _limit(density: _Density | None, time: float, share: float) -> float:
    """The limit that is passed with probability `share`."""
    if share <= 0 or (density is None and ndtri(share) < -UNREACHABLE):
        return math.inf
    if density is None:
        return -float(ndtri(share))

    def excess(limit: float) -> float:
        tail = _tail(density, time, limit, 0.0)
        return (math.log(tail) if tail > 0 else -1e3) - math.log(share)

    if excess(UNREACHABLE) > 0:  # pragma: no cover - a tail of 1e-316 cannot be exceeded
        return math.inf
    return float(brentq(excess, -FAR, UNREACHABLE, xtol=1e-12, rtol=1e-13))


@dataclass(frozen=True)
class _Density:
    """The density of z at a look, of what has not ended yet, on nodes with the weights of their integration."""

    time: float
    nodes: Floats
    masses: Floats


def _density(before: _Density | None, time: float, limit: float, drift: float, sides: int, step: float) -> _Density:
    """The density at `time`; `step` is the nearer of the neighbouring looks, which says how fine it must be."""
    mean = drift * math.sqrt(time)
    low = max(mean - FAR, -limit) if sides == 2 else mean - FAR
    high = min(mean + FAR, limit)
    if high <= low:
        return _Density(time, np.zeros(1), np.zeros(1))
    panels = max(1, math.ceil((high - low) / (2.0 * min(1.0, math.sqrt(step / time)))))
    edges = np.linspace(low, high, panels + 1)
    half = (high - low) / panels / 2
    nodes = ((edges[:-1] + edges[1:])[:, None] / 2 + half * NODES[None, :]).ravel()
    weights = np.tile(half * WEIGHTS, panels)
    if before is None:
        return _Density(time, nodes, weights * np.exp(-0.5 * (nodes - mean) ** 2) / math.sqrt(2 * math.pi))
    gap = time - before.time
    away = nodes[:, None] * math.sqrt(time) - before.nodes[None, :] * math.sqrt(before.time) - drift * gap
    kernel = np.exp(-0.5 * away**2 / gap) * math.sqrt(time / (2 * math.pi * gap))
    return _Density(time, nodes, weights * (kernel @ before.masses))


def _tail(before: _Density | None, time: float, limit: float, drift: float) -> float:
    """The probability of passing `limit` at `time`, not having ended before."""
    if math.isinf(limit):
        return 0.0
    if before is None:
        return float(np.exp(log_ndtr(drift * math.sqrt(time) - limit)))
    gap = time - before.time
    above = before.nodes * math.sqrt(before.time) + drift * gap - limit * math.sqrt(time)
    return float(ndtr(above / math.sqrt(gap)) @ before.masses)
