"""What a user did, in the rows of one bundle: the items seen, and the latest rating of those that events tell of.

Ids that the bundle does not have are of another catalogue, and left out. Next module: `bentos.fallback`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bentos.features import Features


@dataclass(frozen=True, slots=True)
class History:
    """Rows of seen items; of those rated, the rows (distinct) and the ratings, both of shape (rated,); the time of the
    newest event, 0 without any.
    """

    seen: frozenset[int] = frozenset()
    rated: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    ratings: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))
    newest_us: int = 0

    @staticmethod
    def of(features: Features, row_of: Mapping[str, int]) -> History:
        """The history in `features`; `row_of` gives the row of an item id."""
        seen = {row_of[item] for item in features.seen if item in row_of}
        if not features.events:
            return History(frozenset(seen))
        # Newest last: a later rating of the same item takes the place of an earlier one.
        known = [event for event in features.events if event.item_id in row_of]
        latest = {row_of[event.item_id]: event.rating for event in known}
        return History(
            frozenset(seen | latest.keys()),
            np.fromiter(latest.keys(), np.int64, len(latest)),
            np.fromiter(latest.values(), np.float64, len(latest)),
            max((event.timestamp_us for event in known), default=0),
        )

    @property
    def complete(self) -> bool:
        """Whether every item seen has a rating here: then nothing was cut off the list of events."""
        return len(self.rated) == len(self.seen)


NOTHING: Final = History()
"""Of a user of whom nothing is known."""
