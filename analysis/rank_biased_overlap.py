"""Rank-biased overlap: how alike two rankings are when only their beginnings are known. numpy-free, no I/O.

A reader looks at rank d + 1 with probability p after rank d; RBO is the agreement |S:d ∩ L:d| / d expected at the rank
where the reader stops (Webber, Moffat and Zobel, TOIS 28 (2010)). What lies behind the lists is not known: `minimum` is
what it is at least, `minimum + residual` at most, `extrapolated` the point between that takes the rest to agree as the
seen part does. A repeated id counts at its first place. Next module: `analysis.list_arrays`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Final

P: Final = 0.9
"""The first ten ranks then weigh 86 % (Webber et al., §4.3)."""


def overlaps(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[int]:
    """X_d: how many ids the first d of both share, for d = 0 … the longer list's length."""
    found, one, other = [0], set[Hashable](), set[Hashable]()
    for rank in range(max(len(first), len(second))):
        one.update(first[rank : rank + 1])
        other.update(second[rank : rank + 1])
        found.append(len(one & other))
    return found


def minimum(first: Sequence[Hashable], second: Sequence[Hashable], p: float = P) -> float:
    """RBO if nothing behind the lists is shared (equation 11, to the longer list's end); 0 when both are empty."""
    shared = overlaps(first, second)
    seen = sum((shared[d] - shared[-1]) * p**d / d for d in range(1, len(shared)))
    return (1 - p) / p * (seen - shared[-1] * math.log1p(-p))


def residual(first: Sequence[Hashable], second: Sequence[Hashable], p: float = P) -> float:
    """How much more it is if all behind the lists is shared as early as can be (equation 30); 1 when both are empty."""
    shorter, longer = sorted((len(first), len(second)))
    shared = overlaps(first, second)[-1]
    full = longer + shorter - shared
    weight = [0.0, *(p**d / d for d in range(1, full + 1))]
    uncounted = shorter * sum(weight[shorter + 1 :]) + longer * sum(weight[longer + 1 :])
    behind = shared * (-math.log1p(-p) - sum(weight))
    return p**shorter + p**longer - p**full - (1 - p) / p * (uncounted + behind)


def extrapolated(first: Sequence[Hashable], second: Sequence[Hashable], p: float = P) -> float:
    """RBO if the rest agrees as the seen part does (equation 32), in [0, 1]; 1 for two empty lists, 0 if one is."""
    shorter, longer = sorted((len(first), len(second)))
    if not shorter:
        return float(longer == 0)
    shared = overlaps(first, second)
    both = shared[shorter]
    seen = sum(shared[d] / d * p**d for d in range(1, longer + 1))
    assumed = sum(both * (d - shorter) / (shorter * d) * p**d for d in range(shorter + 1, longer + 1))
    return (1 - p) / p * (seen + assumed) + ((shared[longer] - both) / longer + both / shorter) * p**longer
