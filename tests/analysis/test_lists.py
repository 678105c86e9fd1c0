"""List metrics: numbers by hand, then properties, then engines that we did not write."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cityblock

from analysis.lists import (
    average_precision,
    average_precision_trec,
    coverage,
    displacement,
    duplicates,
    entropy,
    gini,
    head_mask,
    intra_list_diversity,
    jaccard,
    long_tail_share,
    ndcg,
    novelty,
    overlap,
    rarefied_coverage,
    recall,
    top_agreement,
    unknown_items,
    violations,
)

ids = st.integers(0, 30)
ranked_lists = st.lists(ids, unique=True, max_size=20)
relevant_sets = st.sets(ids, min_size=1, max_size=20)
cut_offs = st.integers(1, 12)


def test_average_precision_by_hand() -> None:
    # Hits at 1 and 3 of the two relevant: (1/1 + 2/3) / 2.
    assert average_precision("abc", {"a", "c"}, 10) == pytest.approx((1 + 2 / 3) / 2)


def test_average_precision_divides_by_the_hits_that_were_possible() -> None:
    # Three relevant but only two slots: a perfect list has 1, not 2/3.
    assert average_precision("ab", {"a", "b", "c"}, 2) == 1.0


def test_average_precision_counts_only_the_first_k() -> None:
    assert average_precision("xa", {"a"}, 1) == 0.0
    assert average_precision("xa", {"a"}, 2) == 0.5


def test_ndcg_by_hand() -> None:
    # Hits at 1 and 3: (1 + 1/2) against the ideal 1 + 1/log2(3).
    assert ndcg("abc", {"a", "c"}, 10) == pytest.approx(1.5 / (1 + 1 / math.log2(3)))


def test_recall_by_hand() -> None:
    assert recall("abcd", {"a", "d", "x", "y"}, 3) == 0.25
    assert recall("abcd", {"a", "d", "x", "y"}, 4) == 0.5


@pytest.mark.parametrize("metric", [average_precision, ndcg, recall])
def test_an_empty_list_scores_zero(metric) -> None:
    assert metric((), {"a"}, 10) == 0.0


@pytest.mark.parametrize("metric", [average_precision, ndcg, recall])
def test_a_user_without_relevant_items_is_refused(metric) -> None:
    with pytest.raises(ValueError, match="leave the user out"):
        metric("abc", set(), 10)


@pytest.mark.parametrize("metric", [average_precision, ndcg, recall])
def test_a_cut_off_below_one_is_refused(metric) -> None:
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        metric("abc", {"a"}, 0)


def test_coverage_by_hand() -> None:
    assert coverage(["ab", "bc", ""], 6, 1) == pytest.approx(2 / 6)
    assert coverage(["ab", "bc", ""], 6, 2) == pytest.approx(3 / 6)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        coverage(["ab"], 0, 1)


def test_long_tail_share_by_hand() -> None:
    assert long_tail_share("abcd", {"b", "d"}, 4) == 0.5
    assert long_tail_share("abcd", {"b", "d"}, 3) == pytest.approx(1 / 3)
    assert long_tail_share("b", {"b"}, 10) == 1.0
    assert long_tail_share("", {"b"}, 10) == 0.0


def test_overlap_by_hand() -> None:
    assert overlap("abcd", "dxay", 4) == 0.5
    assert overlap("abcd", "ab", 4) == 0.5
    assert overlap("ab", "", 4) == 0.0
    assert overlap("", "", 4) == 1.0


def test_jaccard_by_hand() -> None:
    # 2 of the 6 ids in either; with three of each {a, b, c} and {d, x, a}: 1 of 5.
    assert jaccard("abcd", "dxay", 4) == pytest.approx(2 / 6)
    assert jaccard("abcd", "dxay", 3) == pytest.approx(1 / 5)
    assert (jaccard("", "", 4), jaccard("a", "", 4)) == (1, 0)


def test_top_agreement_by_hand() -> None:
    assert (top_agreement("ab", "ac"), top_agreement("ab", "ba")) == (1, 0)
    assert (top_agreement("", ""), top_agreement("a", "")) == (1, 0)


def test_displacement_by_hand() -> None:
    # Two neighbours swapped: each moved by one, over 2 × (3 + 2 + 1).
    assert displacement("abc", "bac", 3) == pytest.approx(2 / 12)
    # b fell from 2 to out (rank 4): 2; x came in at 2: 2.
    assert displacement("abc", "axc", 3) == pytest.approx(4 / 12)
    assert (displacement("abc", "xyz", 3), displacement("abc", "abc", 3)) == (1, 0)
    assert (displacement("", "", 3), displacement("a", "", 3)) == (0, 1)


def test_displacement_of_lists_with_the_same_items_is_the_distance_of_ranks_that_scipy_sees() -> None:
    """The footrule is the city-block distance of the rank vectors."""
    draw = np.random.default_rng(3)
    for _ in range(20):
        ranks = [draw.permutation(10) for _ in range(2)]
        first, second = ([int(item) for item in np.argsort(each)] for each in ranks)
        assert displacement(first, second, 10) == pytest.approx(cityblock(*ranks) / 110)


def test_duplicates_by_hand() -> None:
    assert duplicates("abab", 4) == 0.5
    assert (duplicates("abab", 2), duplicates("", 2)) == (0, 0)


def test_violations_and_unknown_items_by_hand() -> None:
    assert violations("abcd", {"b", "x"}, 4) == 0.25
    assert unknown_items("abxd", {"a", "b", "d"}, 4) == 0.25
    assert (violations("", {"a"}, 4), unknown_items("", {"a"}, 4)) == (0, 0)


def test_the_head_is_the_fewest_items_that_hold_the_share() -> None:
    # 50 + 30 of 100 are the first 80 %.
    assert head_mask(np.array([5, 50, 30, 15, 0]), share=0.8).tolist() == [False, True, True, False, False]
    assert head_mask(np.array([5, 50, 29, 16, 0]), share=0.8).tolist() == [False, True, True, True, False]


def test_the_head_holds_a_third_unless_said_otherwise() -> None:
    assert head_mask(np.array([2, 1, 1, 1, 1])).tolist() == [True, False, False, False, False]
    assert head_mask(np.array([2, 1, 1, 1, 2])).tolist() == [True, False, False, False, True]


def test_ties_in_the_head_go_to_the_earlier_item() -> None:
    assert head_mask(np.array([1, 1, 1, 1]), share=0.5).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("counts", "share"), [([0, 0], 0.8), ([1], 0.0), ([1], 1.1)])
def test_a_head_of_nothing_is_refused(counts: list[int], share: float) -> None:
    with pytest.raises(ValueError, match="a head needs interactions"):
        head_mask(np.array(counts), share)


@given(ranked_lists, relevant_sets, cut_offs)
def test_metrics_stay_between_zero_and_one(ranked: list[int], relevant: set[int], k: int) -> None:
    for metric in (average_precision, ndcg, recall):
        assert 0.0 <= metric(ranked, relevant, k) <= 1.0 + 1e-12


@given(relevant_sets, cut_offs)
def test_a_list_of_only_relevant_items_is_perfect(relevant: set[int], k: int) -> None:
    assert average_precision(sorted(relevant), relevant, k) == pytest.approx(1.0)
    assert ndcg(sorted(relevant), relevant, k) == pytest.approx(1.0)


@given(ranked_lists, ranked_lists, cut_offs)
def test_overlap_is_symmetric_and_full_with_itself(first: list[int], second: list[int], k: int) -> None:
    assert overlap(first, second, k) == overlap(second, first, k)
    assert overlap(first, first, k) == 1.0


@given(ranked_lists, st.sets(ids), cut_offs)
def test_head_and_tail_share_every_slot_between_them(ranked: list[int], tail: set[int], k: int) -> None:
    head = set(range(31)) - tail
    total = long_tail_share(ranked, tail, k) + long_tail_share(ranked, head, k)
    assert total == pytest.approx(1.0 if ranked else 0.0)


VALUES = msgspec.json.decode((Path(__file__).parent / "ranx_values.json").read_bytes())
"""Lists with what ranx says of them; made by the command that stands in it, where ranx is installed."""


@pytest.mark.parametrize("case", VALUES["cases"], ids=lambda case: case["name"])
def test_map_ndcg_and_recall_agree_with_ranx(case) -> None:
    ranked, relevant = case["ranked"], case["relevant"]
    # The one rule that differs: ranx divides by all relevant items, ours by the hits that were possible.
    converted = case["average_precision_at_10"] * len(relevant) / min(10, len(relevant))
    assert average_precision(ranked, relevant, 10) == pytest.approx(converted, abs=1e-12)
    assert average_precision_trec(ranked, relevant, 10) == pytest.approx(case["average_precision_at_10"], abs=1e-12)
    assert ndcg(ranked, relevant, 10) == pytest.approx(case["ndcg_at_10"], abs=1e-12)
    assert recall(ranked, relevant, 20) == pytest.approx(case["recall_at_20"], abs=1e-12)


def test_the_lists_that_ranx_saw_tell_the_rules_apart() -> None:
    cases = VALUES["cases"]
    assert any(len(case["relevant"]) > 10 and case["average_precision_at_10"] > 0 for case in cases)
    assert any(len(case["ranked"]) < 10 for case in cases)
    assert any(len(case["ranked"]) > 20 for case in cases)
    assert len({case["ndcg_at_10"] for case in cases}) > len(cases) / 2


def test_map_ndcg_and_recall_agree_with_trec_eval() -> None:
    engine = pytest.importorskip("pytrec_eval")
    cases = {case["name"]: case for case in VALUES["cases"]}
    wanted = {name: dict.fromkeys(case["relevant"], 1) for name, case in cases.items()}
    run = {
        name: {item: float(len(case["ranked"]) - place) for place, item in enumerate(case["ranked"])}
        for name, case in cases.items()
    }
    measures = {"ndcg_cut_10", "map_cut_10", "recall_20"}
    theirs = engine.RelevanceEvaluator(wanted, measures).evaluate(run)
    for name, case in cases.items():
        ranked, relevant, found = case["ranked"], case["relevant"], theirs[name]
        assert ndcg(ranked, relevant, 10) == pytest.approx(found["ndcg_cut_10"], abs=1e-9)
        assert recall(ranked, relevant, 20) == pytest.approx(found["recall_20"], abs=1e-9)
        assert average_precision_trec(ranked, relevant, 10) == pytest.approx(found["map_cut_10"], abs=1e-9)
        converted = found["map_cut_10"] * len(relevant) / min(10, len(relevant))
        assert average_precision(ranked, relevant, 10) == pytest.approx(converted, abs=1e-9)


def test_rarefied_coverage_by_hand() -> None:
    # Of the pairs of these three lists: {ab, ac} and {ab, bc}, {ac, bc} each show a, b and c: 3 of 4 items.
    assert rarefied_coverage(["ab", "ac", "bc"], 4, 10, sample=2) == pytest.approx(3 / 4)
    # One list shows two of four.
    assert rarefied_coverage(["ab", "ac", "bc"], 4, 10, sample=1) == pytest.approx(2 / 4)


@given(st.lists(ranked_lists, min_size=2, max_size=7), st.integers(1, 7))
def test_rarefied_coverage_is_the_mean_over_all_samples(lists: list[list[int]], sample: int) -> None:
    sample = min(sample, len(lists))
    drawn = [coverage(some, 31, 10) for some in itertools.combinations(lists, sample)]
    assert rarefied_coverage(lists, 31, 10, sample) == pytest.approx(np.mean(drawn), abs=1e-12)


def test_rarefaction_of_everything_is_coverage_and_more_than_there_is_is_refused() -> None:
    lists = [list(range(n, n + 10)) for n in range(0, 4000, 2)]
    assert rarefied_coverage(lists, 5_000, 10, len(lists)) == pytest.approx(coverage(lists, 5_000, 10))
    with pytest.raises(ValueError, match="cannot draw 2001 lists of 2000"):
        rarefied_coverage(lists, 5_000, 10, len(lists) + 1)


def test_gini_by_hand() -> None:
    assert gini(np.array([5, 5, 5, 5])) == 0
    # One of four has all: (n − 1) / n.
    assert gini(np.array([0, 8, 0, 0])) == pytest.approx(3 / 4)
    assert gini(np.array([1, 3])) == pytest.approx(1 / 4)
    with pytest.raises(ValueError, match="nothing was shown"):
        gini(np.zeros(3))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_gini_is_half_the_relative_mean_absolute_difference(counts: list[int]) -> None:
    values = np.array(counts, float)
    differences = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(differences / (2 * values.mean()), abs=1e-12)


def test_entropy_by_hand() -> None:
    correction = (2 - 1) / (2 * 8 * math.log(2))
    assert entropy(np.array([4, 4, 0])) == pytest.approx(1 + correction)
    assert entropy(np.array([7, 0])) == 0
    with pytest.raises(ValueError, match="nothing was shown"):
        entropy(np.zeros(2))


def test_the_correction_takes_most_of_the_bias_of_a_small_sample() -> None:
    rng = np.random.default_rng(5)
    true = stats.entropy(np.full(64, 1 / 64), base=2)
    samples = [np.bincount(rng.integers(0, 64, 200), minlength=64) for _ in range(300)]
    plain = np.mean([stats.entropy(counts, base=2) for counts in samples])
    corrected = np.mean([entropy(counts) for counts in samples])
    assert abs(corrected - true) < 0.15 * abs(plain - true)


def test_novelty_by_hand() -> None:
    liked = {"a": 8, "b": 2}
    assert novelty("ab", liked, 16, 10) == pytest.approx((1 + 3) / 2)
    # Nobody liked c: as if one had.
    assert novelty("c", liked, 16, 10) == pytest.approx(4)
    assert novelty("", liked, 16, 10) == 0


def test_diversity_by_hand() -> None:
    genres = {"a": frozenset({"x"}), "b": frozenset({"x", "y"}), "c": frozenset({"z"})}
    # a-b 1/2, a-c 1, b-c 1.
    assert intra_list_diversity("abc", genres, 10) == pytest.approx(2.5 / 3)
    assert intra_list_diversity("ab", genres, 1) == 0
    # Nothing is known of either.
    assert intra_list_diversity("de", genres, 10) == 0
