"""What is known of a bundle's index: which candidates were measured, how each did, and why one was kept.

The report is payload (`index.json`), so it holds nothing that differs from run to run: no times, no dates. Next module:
`bentos.payload`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bentos.index import METRIC, Kind, VectorIndex

CHOSEN: Final = "chosen"


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One half of the held-out users.

    recall: mean recall@10 against exact search, after what each has seen is left out; a user for whom the index
    proposes too few counts 0. lower: its lower bound, one-sided at 95 %. computations: mean number of inner products or
    distances per search, in the index and of rows that are scored again. short: share of the users with too few.
    """

    recall: float
    lower: float
    computations: float
    short: float


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One index that was built and measured: by the users who chose its effort, and by those who did not."""

    index: Kind
    bytes: int
    choosing: Figures
    reporting: Figures
    outcome: str
    """`chosen`, or why not."""

    @property
    def cost(self) -> float:
        """Distance computations by the users who chose, each by its weight: what is compared."""
        return self.choosing.computations * self.index.weight


class IndexReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was built, over what, and from which candidates it was chosen; `largest_norm` is M."""

    index: Kind
    items: int
    dimension: int
    metric: str
    largest_norm: float
    faiss: str
    target: float
    k: int
    users: int
    """Held-out users in each half; 0 when nothing was measured."""
    seen: str
    """Where it is known from what they have seen."""
    reason: str
    """Why this index, in words."""
    candidates: tuple[Candidate, ...] = ()

    def mismatch(self, items: int, dimension: int) -> str | None:
        """Why this is no report of an index over so many vectors, or None."""
        if (self.items, self.dimension, self.metric) == (items, dimension, METRIC):
            return None
        told = f"{self.items} vectors of {self.dimension} dimensions, {self.metric}"
        return f"it tells of {told}; this bundle has {items} of {dimension}, {METRIC}"

    @property
    def recall(self) -> float | None:
        """recall@10 of the index, by the users who did not choose; None when it was not measured."""
        found = [each.reporting.recall for each in self.candidates if each.outcome == CHOSEN]
        return found[0] if found else None


def unmeasured(index: VectorIndex, faiss: str, reason: str) -> IndexReport:
    """The report of an index that was not chosen among others."""
    items, dimension = index.vectors.shape
    return IndexReport(
        index=index.kind,
        items=items,
        dimension=dimension,
        metric=METRIC,
        largest_norm=index.largest_norm,
        faiss=faiss,
        target=1.0,
        k=0,
        users=0,
        seen="",
        reason=reason,
    )
