"""A promise as a rate over seeded logs: found, promised, kept or missed.

A rate is accepted unless an exact binomial test rejects its limit, widened by the stated slack, at 1e-4: a true rate at
the limit would else fail half of the time. Next module: `analysis.simulate_cli`.
"""

from __future__ import annotations

from typing import Final

import msgspec
from scipy import stats

SURE: Final = 1e-4
"""A limit is missed when chance alone would do this less often."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: `found` of `runs`, which should be within `least` and `most`; `naive` is a test on requests."""

    promise: str
    setting: str
    runs: int
    found: float
    least: float
    most: float
    kept: bool
    naive: float | None = None


def rate(
    promise: str,
    setting: str,
    count: int,
    runs: int,
    *,
    least: float = 0.0,
    most: float = 1.0,
    slack: float = 0.0,
    naive: float | None = None,
) -> Rate:
    """A rate with its acceptance; `least`, `most` as promised, `slack` widens both, `naive` is told beside."""
    low = stats.binomtest(count, runs, max(0.0, least - slack), alternative="less").pvalue
    high = stats.binomtest(count, runs, min(1.0, most + slack), alternative="greater").pvalue
    return Rate(
        promise=promise,
        setting=setting,
        runs=runs,
        found=count / runs,
        least=least,
        most=most,
        kept=bool(min(low, high) > SURE),
        naive=naive,
    )
