"""How the vectors of a bundle were made, as far as serving must know it to make one more user.

A user who has no vector yet is solved against the fixed item vectors, as half a sweep of training does (Hu, Koren and
Volinsky, ICDM 2008). Training writes these settings into the bundle (`fold_in.json`). Next module: `bentos.bundle`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class FoldInSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The objective of the factors (`training.ials`), and where they stand in an item vector.

    An item vector is [w · y ; (1 − w) · c] with y the factors and c the content, both of `dimension`; of factors alone
    it is y, and w is 1. The sums over all items go over those that had an interaction before the cut.
    """

    dimension: Annotated[int, Meta(ge=1)]
    """d: length of y."""
    factor_share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """w."""
    unobserved_weight: Annotated[float, Meta(ge=0)]
    """Weight of every cell without a rating, as a zero."""
    regularisation: Annotated[float, Meta(gt=0)]
    """reg: λ = reg · (positives + unobserved_weight · items) ^ regularisation_exponent."""
    regularisation_exponent: Annotated[float, Meta(ge=0, le=2)]
    """ν."""
    positive: Annotated[float, Meta(ge=0.5, le=5)]
    """A rating of so many stars or more has preference 1, others 0."""
    weights: dict[str, float] = {}
    """Confidence by stars; stars that are not named weigh 1 as positives and 0 below."""
