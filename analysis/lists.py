"""Metrics of ranked lists: the one place where their formulas and edge cases stand. numpy only, no I/O.

Everywhere `ranked` is a list of distinct ids from best to worst, of which the first `k` count, and `relevant` the ids
that the user wanted. Definitions follow Manning, Raghavan and Schütze, "Introduction to Information Retrieval", ch. 8
(precision, MAP), and Järvelin and Kekäläinen, TOIS 20 (2002) (nDCG). Next module: `training.evaluate`, which applies
them to models, and `analysis.aggregates`, which applies them to pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

HEAD_SHARE: Final = 1 / 3
"""The short head of Cremonesi, Koren and Turrin, RecSys 2010: the most popular items that hold a third of all use.

Mostly one item in twenty. A head of 80 % leaves a tail that neither popularity nor a good model ever shows on
MovieLens-1M, so that its share says nothing (docs/decisions/0003).
"""


def average_precision(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """AP@k = Σ_{i ≤ k, ranked_i relevant} precision@i / min(k, |relevant|), in [0, 1].

    The denominator is the number of hits that were possible, so a perfect list has 1 whatever |relevant| is. trec_eval
    and ranx divide by |relevant| instead: multiply theirs by |relevant| / min(k, |relevant|) to compare.
    `ValueError` when nothing is relevant: such a user has no AP and must be left out by the caller.
    """
    wanted = _wanted(relevant, k)
    hits = 0
    total = 0.0
    for position, item in enumerate(ranked[:k], start=1):
        if item in wanted:
            hits += 1
            total += hits / position
    return total / min(k, len(wanted))


def ndcg(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """nDCG@k with gain 1 and discount 1 / log2(position + 1), over the best possible list, in [0, 1].

    `ValueError` when nothing is relevant.
    """
    wanted = _wanted(relevant, k)
    gained = sum(1.0 / np.log2(position + 1) for position, item in enumerate(ranked[:k], start=1) if item in wanted)
    ideal = sum(1.0 / np.log2(position + 1) for position in range(1, min(k, len(wanted)) + 1))
    return float(gained / ideal)


def recall(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """recall@k = |first k ∩ relevant| / |relevant|, in [0, 1]. `ValueError` when nothing is relevant."""
    wanted = _wanted(relevant, k)
    return sum(item in wanted for item in ranked[:k]) / len(wanted)


def coverage(lists: Iterable[Sequence[Hashable]], catalogue_size: int, k: int) -> float:
    """Catalogue coverage@k: distinct ids in the first k of all lists / recommendable items, in [0, 1].

    It grows with the number of lists: compare at equal numbers only. `ValueError` on an empty catalogue.
    """
    if catalogue_size < 1:
        raise ValueError(f"catalogue_size must be at least 1, not {catalogue_size}")
    return len({item for ranked in lists for item in ranked[:k]}) / catalogue_size


def long_tail_share(ranked: Sequence[Hashable], tail: Collection[Hashable], k: int) -> float:
    """Share of the first k slots filled by items of the tail (see `head_mask`), in [0, 1].

    The denominator is the number of items in those slots; an empty list has share 0, for it shows nothing of the tail.
    """
    shown = ranked[:k]
    return sum(item in tail for item in shown) / len(shown) if shown else 0.0


def overlap(first: Sequence[Hashable], second: Sequence[Hashable], k: int) -> float:
    """|A ∩ B| / max(|A|, |B|) for the first k of both, in [0, 1]; order does not count; two empty lists have 1."""
    one, other = set(first[:k]), set(second[:k])
    longest = max(len(one), len(other))
    return len(one & other) / longest if longest else 1.0


def head_mask(counts: NDArray[np.integer], share: float = HEAD_SHARE) -> NDArray[np.bool_]:
    """Which items are the head: the fewest most-interacted ones that together hold at least `share` of `counts`.

    `counts` has shape (items,) and counts training interactions; ties go to the earlier item. The rest is the tail,
    items without any interaction included. `ValueError` when there is no interaction at all or share is not in (0, 1].
    """
    total = int(counts.sum())
    if total <= 0 or not 0 < share <= 1:
        raise ValueError(f"a head needs interactions (got {total}) and a share in (0, 1] (got {share})")
    order = np.argsort(-counts, kind="stable")
    held = np.cumsum(counts[order])
    size = int(np.searchsorted(held, share * total, side="left")) + 1
    mask = np.zeros(len(counts), dtype=np.bool_)
    mask[order[:size]] = True
    return mask


def _wanted(relevant: Collection[Hashable], k: int) -> frozenset[Hashable]:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if not relevant:
        raise ValueError("no relevant item: the metric is not defined for this user, leave the user out")
    return frozenset(relevant)
