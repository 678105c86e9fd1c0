"""One moment for everybody: the global temporal split, the only one that lets no future into training.

Leave-one-out and random splits train on ratings given after those that they test on; on MovieLens-1M that alone takes
a lift of +23 % to +100 % (docs/leakage.md; Ji, Sun, Zhang and Li, TOIS 2023). Next module: `training.popularity`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.errors import DataError
from training.interactions import Interactions

QUANTILES: Final = (0.8, 0.9)
"""Shares of all ratings before the first and the second cut."""


@dataclass(frozen=True)
class GlobalSplit:
    """Ratings before `validation_from_us`, from there to before `test_from_us`, and from there on; the `whole`."""

    train: Interactions
    validation: Interactions
    test: Interactions
    validation_from_us: int
    test_from_us: int
    whole: Interactions

    @functools.cached_property
    def before_test(self) -> Interactions:
        """train and validation together: what the final models are fitted on. Large, so made when asked for."""
        return self.whole.where(self.whole.timestamp_us < self.test_from_us)


def split_by_time(interactions: Interactions, quantiles: tuple[float, float] = QUANTILES) -> GlobalSplit:
    """Cut at the quantiles of the time of all ratings; equal times fall on the later side of a cut, together.

    `DataError` when a part would be empty. Asserts max(train) < min(validation) < min(test).
    """
    time = interactions.timestamp_us
    if not len(time):
        raise DataError("no interactions to split")
    first, second = (int(each) for each in np.quantile(time, quantiles, method="higher"))
    before, after = time < first, time >= second
    parts = [interactions.where(mask) for mask in (before, ~before & ~after, after)]
    train, validation, test = parts
    if not all(map(len, parts)):
        raise DataError(f"the split {quantiles} leaves a part empty ({', '.join(str(len(part)) for part in parts)})")
    assert train.timestamp_us.max() < validation.timestamp_us.min() <= validation.timestamp_us.max()
    assert validation.timestamp_us.max() < test.timestamp_us.min()
    return GlobalSplit(train, validation, test, first, second, interactions)
