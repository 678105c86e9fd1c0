"""What the gate says of many simulated logs at once: `analysis.gate.judge` over arrays; tests hold both equal.

Next module: `analysis.simulation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtr

from analysis.aggregates import Floats
from analysis.batched import Batch
from analysis.formulas_student import t_critical
from analysis.limits import rate_upper
from analysis.needed import pass_power
from analysis.schedule import WHOLE, Look

ALPHA: Final = 0.05
POWER: Final = 0.8

PASS, HOLD, INCONCLUSIVE = 0, 1, 3
Verdicts = npt.NDArray[np.intp]


def planned_margin(ends: Sequence[Sequence[Batch]], guardrails: int, look: Look) -> float:
    """The margin for which this size is the planned one: each guardrail passes with 1 − (1 − power)/guardrails."""
    error = float(np.sqrt(np.mean([np.var(np.stack([b.values for b in batch])) for batch in ends])))
    freedom = float(np.mean([batch[0].freedom for batch in ends]))
    wanted = 1 - (1 - POWER) / guardrails
    alpha = look.nominal(ALPHA)
    return error * float(brentq(lambda each: pass_power(freedom, each, alpha) - wanted, 0.01, 50.0))


def verdicts(
    batches: Sequence[Batch], margin: float | Sequence[float], effect: float = 0.0, look: Look = WHOLE
) -> Verdicts:
    """What `analysis.gate.judge` says of guardrails whose first is harmed by `effect`; shape (runs,).

    Harm is upwards. One margin for all, or one each. Floors are not looked at.
    """
    values = np.stack([batch.values for batch in batches])
    values[0] += effect
    errors = np.stack([batch.errors for batch in batches])
    freedom = batches[0].freedom
    nominal = look.nominal(ALPHA)
    critical = t_critical(freedom, nominal)
    upper = values + critical * errors
    for row, batch in enumerate(batches):
        if batch.rate and batch.span > 0:
            upper[row] = rate_upper(values[row], errors[row], batch.span / batch.effective_users, critical)
    unseen = [batch.span * (1 - nominal ** (1 / batch.effective_users)) for batch in batches]
    bounded = np.array([[batch.span > 0] for batch in batches])
    upper = np.where(bounded, np.maximum(upper, np.minimum(values, 0.0) + np.array(unseen)[:, None]), upper)
    safe = upper < np.broadcast_to(np.asarray(margin), (len(batches),))[:, None]
    # Without any variation there is no harm to be seen, only what few users may have hidden.
    ratios = np.divide(values, errors, out=np.zeros_like(values), where=errors > 0)
    harmed = _holm_shown(1 - stdtr(freedom, ratios), look)
    held = (~safe & harmed).any(axis=0)
    return np.where(held, HOLD, np.where(safe.all(axis=0), PASS, INCONCLUSIVE))


def _holm_shown(p_values: Floats, look: Look) -> npt.NDArray[np.bool_]:
    """Which hypotheses Holm's step-down rejects, each step at the look's bound; shape (guardrails, runs)."""
    guardrails = len(p_values)
    order = np.argsort(p_values, axis=0)
    bounds = np.array([look.nominal(ALPHA / (guardrails - rank)) for rank in range(guardrails)])
    rejected = np.logical_and.accumulate(np.take_along_axis(p_values, order, axis=0) <= bounds[:, None], axis=0)
    shown = np.zeros_like(rejected)
    np.put_along_axis(shown, order, rejected, axis=0)
    return shown
