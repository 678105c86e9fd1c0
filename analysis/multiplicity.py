"""P-values of several hypotheses, adjusted: of the gate's guardrails, of an A/B test's metrics and segments. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), in the given order."""
    order = np.argsort(p_values)
    raised = [(len(order) - rank) * p_values[index] for rank, index in enumerate(order)]
    adjusted = np.minimum(1.0, np.maximum.accumulate(raised)) if raised else np.zeros(0)
    return _in_order(order, adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted p-values (1995), in the given order."""
    order = np.argsort(p_values)
    number = len(order)
    raised = [number / (rank + 1) * p_values[index] for rank, index in enumerate(order)]
    adjusted = np.minimum(1.0, np.minimum.accumulate(raised[::-1])[::-1]) if raised else np.zeros(0)
    return _in_order(order, adjusted)


def _in_order(order: npt.NDArray[np.intp], adjusted: npt.NDArray[np.float64]) -> list[float]:
    found = np.empty(len(order))
    found[order] = adjusted
    return [float(each) for each in found]
