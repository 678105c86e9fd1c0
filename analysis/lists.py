"""Metrics of ranked lists: the one place where their formulas and edge cases stand. numpy only, no I/O.

Everywhere `ranked` is a list of distinct ids from best to worst, of which the first `k` count, and `relevant` the ids
that the user wanted. Definitions follow Manning, Raghavan and Schütze, "Introduction to Information Retrieval", ch. 8
(precision, MAP), and Järvelin and Kekäläinen, TOIS 20 (2002) (nDCG). Next module: `training.evaluate`, which applies
them to models, and `analysis.aggregates`, which applies them to pairs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

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


def average_precision_trec(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """AP@k over |relevant|, the rule of trec_eval and ranx: a perfect list has k / |relevant| when |relevant| > k.

    Printed once beside `average_precision`, for comparison with other people's tables; never judged by.
    """
    return average_precision(ranked, relevant, k) * min(k, len(relevant)) / len(relevant)


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


def jaccard(first: Sequence[Hashable], second: Sequence[Hashable], k: int) -> float:
    """|A ∩ B| / |A ∪ B| for the first k of both, in [0, 1]; order does not count; two empty lists have 1."""
    return _jaccard(frozenset(first[:k]), frozenset(second[:k]))


def top_agreement(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """1 when both begin with the same id, or both are empty; else 0."""
    return float(first[:1] == second[:1])


def displacement(first: Sequence[Hashable], second: Sequence[Hashable], k: int) -> float:
    """How far ids moved between the first k of both, in [0, 1]: 0 for equal lists, 1 when nothing is shared.

    Spearman's footrule with what a list does not hold at rank k + 1, over its value for lists without a shared id
    (Fagin, Kumar and Sivakumar, SIAM J. Discrete Math. 17 (2003)). Two empty lists have 0.
    """
    one, other = ({item: k - rank for rank, item in reversed(list(enumerate(each[:k])))} for each in (first, second))
    moved = sum(abs(one.get(item, 0) - other.get(item, 0)) for item in one.keys() | other.keys())
    most = sum(one.values()) + sum(other.values())
    return moved / most if most else 0.0


def duplicates(ranked: Sequence[Hashable], k: int) -> float:
    """Share of the first k slots that repeat an id of an earlier slot, in [0, 1); 0 for an empty list."""
    shown = ranked[:k]
    return 1 - len(set(shown)) / len(shown) if shown else 0.0


def violations(ranked: Sequence[Hashable], forbidden: Collection[Hashable], k: int) -> float:
    """Share of the first k slots with an id that must not be shown (what the user has seen), in [0, 1]; empty: 0."""
    return long_tail_share(ranked, forbidden, k)


def unknown_items(ranked: Sequence[Hashable], catalogue: Collection[Hashable], k: int) -> float:
    """Share of the first k slots with an id that the catalogue does not hold, in [0, 1]; 0 for an empty list."""
    shown = ranked[:k]
    return sum(item not in catalogue for item in shown) / len(shown) if shown else 0.0


def rarefied_coverage(lists: Sequence[Sequence[Hashable]], catalogue_size: int, k: int, sample: int) -> float:
    """Expected coverage@k of `sample` lists drawn without replacement: comparable between sets of lists of any size.

    Σ_items 1 − C(N − c, n) / C(N, n) over the catalogue's size, c being the lists that show the item, N all lists, n
    the sample (Hurlbert, Ecology 52 (1971), rarefaction). `ValueError` when there are fewer lists than `sample`.
    """
    total = len(lists)
    if not 1 <= sample <= total:
        raise ValueError(f"cannot draw {sample} lists of {total}")
    if catalogue_size < 1:
        raise ValueError(f"catalogue_size must be at least 1, not {catalogue_size}")
    shown = np.array(list(Counter(item for ranked in lists for item in set(ranked[:k])).values()), dtype=np.int64)
    # log(n!) for n = 0 … N, so that the binomials never overflow.
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    possible = shown <= total - sample
    rest = total - shown[possible]
    never = np.exp(factorial[rest] - factorial[rest - sample] + factorial[total - sample] - factorial[total])
    return float(len(shown) - never.sum()) / catalogue_size


def gini(counts: NDArray[np.number]) -> float:
    """Gini coefficient of how often each item of the whole catalogue was shown, zeros included; in [0, 1).

    Σ (2i − n − 1) c_(i) / (n Σ c) with the counts in ascending order: 0 when all items are shown alike. `ValueError`
    when nothing was shown.
    """
    ordered = np.sort(np.asarray(counts, dtype=np.float64))
    total, items = ordered.sum(), len(ordered)
    if total <= 0:
        raise ValueError("nothing was shown: the Gini coefficient is not defined")
    return float(((2 * np.arange(1, items + 1) - items - 1) * ordered).sum() / (items * total))


def entropy(counts: NDArray[np.number]) -> float:
    """Shannon entropy in bits of what was shown, with the correction of Miller and Madow for small samples.

    −Σ p log2 p + (m − 1) / (2 n ln 2), m items shown at all, n slots: without it fewer users would mean less entropy
    (Miller, Information Theory in Psychology, 1955). `ValueError` when nothing was shown.
    """
    seen = np.asarray(counts, dtype=np.float64)
    seen = seen[seen > 0]
    total = seen.sum()
    if total <= 0:
        raise ValueError("nothing was shown: the entropy is not defined")
    share = seen / total
    return float(-(share * np.log2(share)).sum() + (len(seen) - 1) / (2 * total * np.log(2)))


def novelty(ranked: Sequence[Hashable], users_of: Mapping[Any, int], users: int, k: int) -> float:
    """Mean self-information −log2(users who liked it / all users) of the first k, in bits; 0 for an empty list.

    An item nobody liked yet counts as liked by one, so that the mean stays finite (Vargas and Castells, RecSys 2011).
    """
    shown = ranked[:k]
    if not shown:
        return 0.0
    return float(np.mean([-np.log2(max(users_of.get(item, 0), 1) / users) for item in shown]))


def intra_list_diversity(ranked: Sequence[Hashable], features: Mapping[Any, frozenset[str]], k: int) -> float:
    """Mean of 1 − Jaccard similarity of features over all pairs of the first k, in [0, 1]; 0 for fewer than two items.

    Two items without any feature are taken as alike (Ziegler et al., WWW 2005, with genres as the features).
    """
    shown = [features.get(item, frozenset()) for item in ranked[:k]]
    distances = [1 - _jaccard(one, other) for one, other in itertools.combinations(shown, 2)]
    return float(np.mean(distances)) if distances else 0.0


def _jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    union = len(one | other)
    return len(one & other) / union if union else 1.0


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
