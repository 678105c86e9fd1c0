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
RATIO: Final = "ratio of means over requests"
MEAN_LOG_RATIO: Final = "mean log-ratio over requests"
QUANTILES: Final = {
    0.5: "median over requests",
    0.95: "95th percentile over requests",
    0.99: "99th percentile over requests",
}
POPULATION: Final = "of all lists, rarefied"
"""How values become one number: users count once each, or requests do, or all lists are taken together."""


@dataclass(frozen=True)
class Measure:
    """One metric's definition. `units`: those a margin may be given in; the first is the usual one.

    `meaning` is the sentence the report prints. `span` bounds how far one user can move a mean: 1 for shares and
    rates, 0 where there is no bound. `q` is the quantile of a metric that is one.
    """

    name: str
    comparison: str
    average: str
    harm: str
    units: tuple[str, ...]
    span: float
    meaning: str
    q: float | None = None

    @property
    def floored(self) -> bool:
        """Whether it has a noise floor: the same with the control in the shadow's place. Metrics of lists do."""
        return self.comparison != SHADOW_CONTROL


FAILURE = "A timeout or an error of the shadow counts as an empty list"


def _of_lists(name: str, harm: str, unit: str, meaning: str) -> Measure:
    """Shadow − primary, mean over users."""
    span = 1.0 if unit in ("share", "rate") else 0.0
    return Measure(name, SHADOW_PRIMARY, MEAN_OF_USERS, harm, (unit,), span, meaning)


def _with_primary(name: str, meaning: str) -> Measure:
    """A value of both lists together, mean over users. It has no direction: different is not worse."""
    return Measure(name, SHADOW_ON_PRIMARY, MEAN_OF_USERS, NONE, ("share",), 1.0, meaning)


def _population(name: str, unit: str, meaning: str) -> Measure:
    """Shadow − primary of a value that belongs to all lists together."""
    return Measure(name, SHADOW_PRIMARY, POPULATION, NONE, (unit,), 0.0, meaning)


def _latency(name: str, average: str, units: tuple[str, ...], meaning: str, q: float | None = None) -> Measure:
    """Shadow against control on the same requests."""
    return Measure(name, SHADOW_CONTROL, average, HIGHER, units, 0.0, f"{meaning} {TOOK}", q)


TOOK: Final = (
    "Connecting plus first byte sent to last byte received, without the wait in the router's queue. "
    "A call that failed counts as having taken the whole deadline."
)
APART: Final = "Difference of the {} on the same requests (not the same of the differences)."

MEASURES: Final[dict[str, Measure]] = {
    measure.name: measure
    for measure in (
        _of_lists(
            "long_tail_share",
            LOWER,
            "share",
            "Share of the first 10 slots that hold items outside the head of the catalogue. "
            "A timeout, an error or an empty list of the shadow counts as share 0.",
        ),
        _of_lists(
            "empty_lists",
            HIGHER,
            "rate",
            "Rate of answers without any item. A timeout or an error of the shadow counts as empty.",
        ),
        _of_lists(
            "unknown_items",
            HIGHER,
            "share",
            f"Share of the first 10 slots with an id that is not in the catalogue. {FAILURE}.",
        ),
        _of_lists("repeated_items", HIGHER, "share", f"Share of the first 10 slots that repeat an id. {FAILURE}."),
        _of_lists("list_length", NONE, "items", f"Filled slots of the first 10. {FAILURE}."),
        _of_lists(
            "novelty",
            NONE,
            "bits",
            f"Mean −log2 of an item's share of the catalogue's likes, over the first 10. {FAILURE}, which has 0.",
        ),
        _of_lists(
            "intra_list_diversity",
            NONE,
            "share",
            f"Mean of 1 − Jaccard similarity of genres over all pairs of the first 10. {FAILURE}, which has 0.",
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
        _latency("latency_p50", QUANTILES[0.5], ("ms", "relative"), APART.format("medians"), 0.5),
        _latency("latency_p95", QUANTILES[0.95], ("ms", "relative"), APART.format("95th percentiles"), 0.95),
        _latency("latency_p99", QUANTILES[0.99], ("ms", "relative"), APART.format("99th percentiles"), 0.99),
        _latency("latency_mean", RATIO, ("relative",), "Ratio of the mean latencies on the same requests, less 1."),
        _latency(
            "latency_log_ratio",
            MEAN_LOG_RATIO,
            ("relative",),
            "Geometric mean of the ratios of the two latencies of each request, less 1.",
        ),
        _with_primary(
            "overlap_at_10",
            "Share of the first 10 items that both lists hold. It has no direction: different is not worse.",
        ),
        _with_primary("jaccard_at_10", "Items of both lists over items of either, of the first 10."),
        _with_primary("rank_biased_overlap", "Rank-biased overlap of the first 10, p = .9, extrapolated."),
        _with_primary("top_1_agreement", "Rate of requests on which both lists begin with the same item."),
        _with_primary(
            "displacement",
            "Spearman's footrule of the first 10 over its largest value: 0 the same order, 1 nothing shared.",
        ),
        _with_primary(
            "identical_lists", "Rate of requests answered with the primary's very list. A failed call is not."
        ),
        _population("coverage", "share", "Share of the catalogue that is shown at all."),
        _population("gini", "share", "Gini coefficient of how often each item of the catalogue is shown."),
        _population("entropy", "bits", "Shannon entropy of the shares of slots that items take."),
    )
}
"""By name. What each is compared with, weighted by and counted as is in docs/gate.md too; a test holds both equal."""

GUARDRAILS: Final = ("long_tail_share", "latency_p95", "errors", "empty_lists", "unknown_items")
"""What a plan gates by default: one metric of the tail, the 95th percentile, errors, empties, violations. All else is
described: guardrails on one construct only spend α and β (docs/gate.md, The plan)."""

TAIL_METRICS: Final = ("long_tail_share", "coverage", "gini", "entropy", "novelty")
"""One construct: how much of the catalogue is shown. The first of them may be a guardrail."""
