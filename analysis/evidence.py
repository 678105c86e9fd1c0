"""From triples to one estimate per metric of the plan: which requests count, with which value, compared with what.

A metric compares arms on the same requests only; a request for which one of them was never judged is left out of it
(and is counted as loss by `analysis.health`). Next module: `analysis.noise`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis.aggregates import CellSums, Floats, cell_sums, time_blocks
from analysis.estimates import Estimate, mean
from analysis.gate import Evidence
from analysis.load import ANSWERED, FAILED, ArmColumns, Flags, Triples
from analysis.measures import MEASURES, QUANTILE
from analysis.plan import CONTROL, SHADOW, MetricPlan, Plan
from analysis.quantiles import quantile_difference

Q: Final = 0.95
WITH_FLOOR: Final = ("long_tail_share", "empty_lists", "overlap_at_10")
"""List metrics have a noise floor: the same metric with the control in the shadow's place."""


def evidence(triples: Triples, metric: MetricPlan, plan: Plan) -> Evidence:
    """Estimate `metric`; both arms that it compares must be in `triples.arms`."""
    measure = MEASURES[metric.name]
    if measure.average == QUANTILE:
        return Evidence(metric, *_latency(triples, metric, plan))
    cells = sums(triples, metric.name, plan.block_us)
    found = mean(cells, measure.average, measure.span)
    floor = None
    if metric.name in WITH_FLOOR and CONTROL in triples.arms:
        floor = mean(sums(triples, metric.name, plan.block_us, CONTROL), measure.average)
    return Evidence(metric, found, "" if found else "no request was judged", floor.value if floor else None)


def sums(triples: Triples, name: str, block_us: int, arm: str = SHADOW) -> CellSums:
    """The additive statistics of a mean metric; `arm` = "control" gives the noise floor of a list metric."""
    rows, values = request_values(triples, name, arm)
    return cell_sums(triples.users[rows], time_blocks(triples.event_us[rows], block_us), values[rows])


def request_values(triples: Triples, name: str, arm: str = SHADOW) -> tuple[Flags, Floats]:
    """Which requests count for the metric, and its value at every request (meaningless where it does not count)."""
    columns = triples.arms[arm]
    if name == "long_tail_share":
        return columns.judged, columns.tail - triples.tail
    if name == "empty_lists":
        return columns.judged, columns.empty.astype(np.float64) - triples.empty
    if name == "overlap_at_10":
        return columns.judged, columns.overlap
    if name == "errors":
        control = triples.arms[CONTROL]
        failures = (columns.state == FAILED).astype(np.float64) - (control.state == FAILED)
        return columns.judged & control.judged, failures
    raise ValueError(f"{name} is no mean over requests or users")


def latency_ms(arm: ArmColumns, deadline_ms: float) -> Floats:
    """What each judged call took, in milliseconds, cut off at the deadline; a failed call took the deadline."""
    took = np.where(arm.state == ANSWERED, arm.latency_us / 1000, deadline_ms)
    return np.asarray(np.minimum(took, deadline_ms), dtype=np.float64)


def _latency(triples: Triples, metric: MetricPlan, plan: Plan) -> tuple[Estimate | None, str]:
    shadow, control = triples.arms[SHADOW], triples.arms[CONTROL]
    rows = shadow.judged & control.judged
    found = quantile_difference(
        triples.users[rows],
        time_blocks(triples.event_us[rows], plan.block_us),
        latency_ms(shadow, plan.deadline_ms)[rows],
        latency_ms(control, plan.deadline_ms)[rows],
        q=Q,
        deadline=plan.deadline_ms,
        log=metric.unit == "relative",
    )
    if found is None:
        return None, "no request was judged for both" if not rows.any() else "the control's own p95 is at the deadline"
    return found, ""
