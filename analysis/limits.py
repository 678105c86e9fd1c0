"""The harmful limit that the gate goes by: that of the estimate, but for rates, whose variance grows with them.

Student's limit takes the variance at the estimate. Where 1 % of answers are empty and by chance few were seen, it is
too small just when the estimate is too low: harm of the margin passed in 8 to 11 % of logs instead of 5 %. So a rate's
limit takes the variance where the limit is (a score limit, as Wilson's of 1927). Next module: `analysis.gate`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from analysis.aggregates import Floats
from analysis.estimates import Estimate
from analysis.formulas_student import t_critical

RATE: Final = "rate"
"""The unit of metrics that this is about."""


def upper(harm: Estimate, unit: str, alpha: float) -> float | None:
    """The one-sided upper limit with error `alpha` on the estimate's scale; None where there is none."""
    found = harm.upper(alpha)
    if found is None or unit != RATE or harm.span <= 0 or harm.spread.variance <= 0:
        return found
    critical = t_critical(harm.spread.degrees_of_freedom, alpha)
    value, error = (np.array([each], dtype=np.float64) for each in (harm.value, harm.standard_error))
    return max(found, float(rate_upper(value, error, harm.span / harm.spread.effective_users, critical)[0]))


def rate_upper(values: Floats, errors: Floats, one_user: float, critical: float) -> Floats:
    """The μ at which (μ − value)² = critical²·(error² + (μ − value)·κ); `values` and `errors` of one shape.

    κ is what the variance gains when the rate grows by one: error²/value, estimated as if one user more had been seen
    of whom every call failed (`one_user` is what that adds to the rate), and never more than if all did.
    """
    kappa = np.minimum((errors**2 + one_user**2) / (np.maximum(values, 0.0) + one_user), one_user)
    half = critical**2 * kappa / 2
    return np.asarray(values + half + np.sqrt(half**2 + (critical * errors) ** 2))
