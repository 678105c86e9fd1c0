"""From triples to one estimate per metric of the plan: which requests count, with which value, compared with what.

A metric compares arms on the same requests only; a request for which one of them was never judged is left out of it
(and is counted as loss by `analysis.health`). Next module: `analysis.noise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from analysis.aggregates import CellSums, Floats
from analysis.estimates import Estimate, log_ratio, mean
from analysis.gate import Evidence
from analysis.measures import MEAN_LOG_RATIO, MEAN_OF_REQUESTS, MEASURES, POPULATION, RATIO
from analysis.plan import CONTROL, SHADOW, MetricPlan, Plan
from analysis.populations import population_differences
from analysis.quantiles import difference_of_quantiles
from analysis.reading import ANSWERED, FAILED
from analysis.triples import ArmColumns, Flags, ListTable, Triples

OF_LIST: Final = {
    "long_tail_share": "tail",
    "empty_lists": "empty",
    "unknown_items": "unknown",
    "repeated_items": "repeated",
    "list_length": "length",
    "novelty": "novelty",
    "intra_list_diversity": "diversity",
}
"""Metrics of one list, and where `analysis.triples.ListTable` has them."""

TOGETHER: Final = {
    "overlap_at_10": "overlap",
    "jaccard_at_10": "jaccard",
    "rank_biased_overlap": "rank_biased_overlap",
    "displacement": "displacement",
}
"""Metrics of two lists, and where `analysis.list_arrays.Matches` has them."""


def all_evidence(triples: Triples, plan: Plan) -> list[Evidence]:
    """One piece per metric of the plan; all arms that it compares must be in `triples.arms`."""
    populations: dict[str, Estimate] = {}
    if any(MEASURES[metric.name].average == POPULATION for metric in plan.metrics):
        populations = _populations(triples, plan.block_us)
    return [evidence(triples, metric, plan, populations) for metric in plan.metrics]


def evidence(
    triples: Triples, metric: MetricPlan, plan: Plan, populations: dict[str, Estimate] | None = None
) -> Evidence:
    """Estimate `metric`; `populations` are those of all lists together where they were worked out already."""
    measure = MEASURES[metric.name]
    if metric.name not in known_metrics(triples.table):
        return Evidence(metric, None, LACKING[metric.name])
    if measure.average == POPULATION:
        known = _populations(triples, plan.block_us) if populations is None else populations
        return Evidence(metric, known.get(metric.name), "" if metric.name in known else "too few lists or users")
    if measure.q is not None:
        return Evidence(metric, *_quantile(triples, metric, measure.q, plan))
    if measure.average in (RATIO, MEAN_LOG_RATIO):
        return Evidence(metric, *_relative(triples, measure.average, plan))
    found = mean(sums(triples, metric.name, plan.block_us), measure.average, measure.span)
    floor = None
    if measure.floored and CONTROL in triples.arms:
        floor = mean(sums(triples, metric.name, plan.block_us, CONTROL), measure.average)
    return Evidence(metric, found, "" if found else "no request was judged", floor.value if floor else None)


LACKING: Final = {
    **dict.fromkeys(("unknown_items", "coverage", "gini", "entropy"), "the whole catalogue is not known"),
    "novelty": "the catalogue has no column popularity",
    "intra_list_diversity": "the catalogue has no column genres",
}
"""What must be known of the catalogue for a metric, said when it is not."""


def known_metrics(table: ListTable) -> Sequence[str]:
    """The metrics that can be measured with what the catalogue says."""
    items = table.items
    there = {"novelty": items.popularity is not None, "intra_list_diversity": items.features is not None}
    return [name for name in MEASURES if there.get(name, items.whole or name not in LACKING)]


def sums(triples: Triples, name: str, block_us: int, arm: str = SHADOW) -> CellSums:
    """The additive statistics of a mean metric; `arm` = "control" gives the noise floor of a list metric."""
    return triples.clusters(block_us).sums(*request_values(triples, name, arm))


def request_values(triples: Triples, name: str, arm: str = SHADOW) -> tuple[Flags, Floats]:
    """Which requests count for the metric, and its value at every request (meaningless where it does not count)."""
    columns = triples.arms[arm]
    if name in OF_LIST:
        values = getattr(triples.table, OF_LIST[name]).astype(np.float64)
        return columns.judged, values[columns.lists] - values[triples.lists]
    if name in TOGETHER:
        return columns.judged, columns.with_primary(getattr(columns.matches, TOGETHER[name])())
    if name == "top_1_agreement":
        return columns.judged, columns.with_primary(columns.matches.top.astype(np.float64))
    if name == "identical_lists":
        return columns.judged, columns.identical.astype(np.float64)
    if name == "errors":
        control = triples.arms[CONTROL]
        failures = (columns.state == FAILED).astype(np.float64) - (control.state == FAILED)
        return columns.judged & control.judged, failures
    raise ValueError(f"{name} is no mean over requests or users")


def latency_ms(arm: ArmColumns, deadline_ms: float) -> Floats:
    """What each judged call took, in milliseconds, cut off at the deadline; a failed call took the deadline."""
    took = np.where(arm.state == ANSWERED, arm.latency_us / 1000, deadline_ms)
    return np.asarray(np.minimum(took, deadline_ms), dtype=np.float64)


def _took(triples: Triples, plan: Plan) -> tuple[Flags, Floats, Floats]:
    """Requests judged for shadow and control, and what both took, at every request."""
    shadow, control = triples.arms[SHADOW], triples.arms[CONTROL]
    rows = np.asarray(shadow.judged & control.judged)
    return rows, latency_ms(shadow, plan.deadline_ms), latency_ms(control, plan.deadline_ms)


NONE_FOR_BOTH: Final = "no request was judged for both"
SHORTEST_MS: Final = 0.001
"""Clocks count microseconds: a call that took none is taken to have taken one where its logarithm is needed."""


def _quantile(triples: Triples, metric: MetricPlan, q: float, plan: Plan) -> tuple[Estimate | None, str]:
    rows, shadow, control = _took(triples, plan)
    found = difference_of_quantiles(
        triples.clusters(plan.block_us).at(rows).all_sums,
        shadow[rows],
        control[rows],
        q=q,
        deadline=plan.deadline_ms,
        log=metric.unit == "relative",
    )
    if found is None:
        return (
            None,
            f"the control's own {metric.name.rpartition('_')[2]} is at the deadline" if rows.any() else NONE_FOR_BOTH,
        )
    return found, ""


def _relative(triples: Triples, average: str, plan: Plan) -> tuple[Estimate | None, str]:
    """Means of what is cut off at the deadline are defined as they are: restricted means, no limits of unknown ones."""
    rows, shadow, control = _took(triples, plan)
    clusters = triples.clusters(plan.block_us)
    if average == RATIO:
        found = log_ratio(clusters.sums(rows, shadow), clusters.sums(rows, control))
    else:
        logarithms = np.log(np.maximum(shadow, SHORTEST_MS)) - np.log(np.maximum(control, SHORTEST_MS))
        found = mean(clusters.sums(rows, logarithms), MEAN_OF_REQUESTS, span=0.0)
    return (replace(found, log=True), "") if found else (None, NONE_FOR_BOTH)


def _populations(triples: Triples, block_us: int) -> dict[str, Estimate]:
    if not triples.table.items.whole:
        return {}
    shown = mean(sums(triples, "empty_lists", block_us), MEAN_OF_REQUESTS)
    return population_differences(*triples.exposures(SHADOW), shown.spread, shown.requests) if shown else {}
