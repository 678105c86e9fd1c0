"""What can be measured on a triple, and how: one table of definitions that plan, arithmetic and report share.

A plan may choose among these and set margins; it cannot bend a definition. Next module: `analysis.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

K: Final = 10
"""How much of a list is looked at, for every list metric."""

HIGHER: Final = "higher"
LOWER: Final = "lower"
NONE: Final = "none"
"""Which direction of a difference is harm; `none` has no direction, so it can only be described."""

SHADOW_PRIMARY: Final = "shadow - primary"
SHADOW_CONTROL: Final = "shadow - control"
SHADOW_ON_PRIMARY: Final = "shadow with primary"

MEAN_OF_USERS: Final = "mean over users"
MEAN_OF_REQUESTS: Final = "mean over requests"
QUANTILE: Final = "95th percentile over requests"


@dataclass(frozen=True)
class Measure:
    """One metric's definition. `units`: those a margin may be given in; the first is the usual one.

    `meaning` is the sentence the report prints. `span` bounds how far one user can move a mean: 1 for shares and
    rates, 0 where there is no bound.
    """

    name: str
    comparison: str
    average: str
    harm: str
    units: tuple[str, ...]
    span: float
    meaning: str


MEASURES: Final[dict[str, Measure]] = {
    measure.name: measure
    for measure in (
        Measure(
            "long_tail_share",
            SHADOW_PRIMARY,
            MEAN_OF_USERS,
            LOWER,
            ("share",),
            1.0,
            "Share of the first 10 slots that hold items outside the head of the catalogue. "
            "A timeout, an error or an empty list of the shadow counts as share 0.",
        ),
        Measure(
            "empty_lists",
            SHADOW_PRIMARY,
            MEAN_OF_USERS,
            HIGHER,
            ("rate",),
            1.0,
            "Rate of answers without any item. A timeout or an error of the shadow counts as empty.",
        ),
        Measure(
            "errors",
            SHADOW_CONTROL,
            MEAN_OF_REQUESTS,
            HIGHER,
            ("rate",),
            1.0,
            "Rate of failed calls on the same requests: bad status, unreadable body, timeout, open breaker, "
            "too long a wait for a slot.",
        ),
        Measure(
            "latency_p95",
            SHADOW_CONTROL,
            QUANTILE,
            HIGHER,
            ("ms", "relative"),
            0.0,
            "Difference of the 95th percentiles on the same requests (not the percentile of the differences): "
            "connecting plus first byte sent to last byte received, without the wait in the router's queue. "
            "A call that failed counts as having taken the whole deadline.",
        ),
        Measure(
            "overlap_at_10",
            SHADOW_ON_PRIMARY,
            MEAN_OF_USERS,
            NONE,
            ("share",),
            1.0,
            "Share of the first 10 items that both lists hold. It has no direction: different is not worse.",
        ),
    )
}
