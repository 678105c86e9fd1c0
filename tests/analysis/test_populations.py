from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.estimates import NO_WIDTH, Spread
from analysis.lists import gini, rarefied_coverage
from analysis.populations import Exposures, exposures, population, population_differences, sample_size

FIVE = ["ab", "ac", "ab", "ad", "bc"]
"""Five lists of two over the catalogue a … f; shown 4, 3, 2, 1, 0, 0 times."""
SHOWN = np.array([4, 3, 2, 1, 0, 0])


def enumerated(lists, items, sample):
    """All samples, one by one: mean coverage, mean entropy, Gini of an item's count over items and samples together."""
    covered, entropies, pooled = [], [], []
    for chosen in itertools.combinations(lists, sample):
        counts = np.array([sum(item in each for each in chosen) for item in items])
        covered.append((counts > 0).mean())
        entropies.append(stats.entropy(counts, base=2))
        pooled.append(counts)
    counts = np.concatenate(pooled)
    # Two draws with replacement: the mean of |x − y| over twice the mean.
    return np.mean(covered), np.mean(entropies), np.abs(counts[:, None] - counts).mean() / (2 * counts.mean())


@pytest.mark.parametrize("sample", [1, 2, 3, 4, 5])
def test_all_samples_counted_one_by_one_give_the_same(sample):
    found = population(SHOWN, 5, sample)
    assert (found.coverage, found.entropy, found.gini) == pytest.approx(enumerated(FIVE, "abcdef", sample), abs=1e-12)


def test_a_sample_of_two_by_hand():
    """a is missing from none of the C(5, 2) = 10 pairs of lists, b from 1, c from 3, d from 6, e and f from all."""
    assert population(SHOWN, 5, 2).coverage == pytest.approx((10 + 9 + 7 + 4) / 10 / 6)
    assert population(SHOWN, 5, 1).entropy == pytest.approx(1)


def test_all_lists_are_the_plain_values():
    found = population(SHOWN, 5, 5)
    assert found.coverage == pytest.approx(4 / 6)
    assert found.gini == pytest.approx(gini(SHOWN))
    assert found.entropy == pytest.approx(stats.entropy(SHOWN, base=2))


lists = st.lists(st.sets(st.sampled_from("abcde"), min_size=2, max_size=2), min_size=2, max_size=7)


@given(lists, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_any_small_log_agrees_with_its_enumeration_and_with_the_definition_of_coverage(some, sample):
    sample = min(sample, len(some))
    shown = np.array([sum(item in each for each in some) for item in "abcde"])
    found = population(shown, len(some), sample)
    assert (found.coverage, found.entropy, found.gini) == pytest.approx(enumerated(some, "abcde", sample), abs=1e-10)
    assert found.coverage == pytest.approx(rarefied_coverage([sorted(each) for each in some], 5, 2, sample), abs=1e-10)


def test_large_counts_agree_with_scipy():
    """scipy's hypergeometric distribution, summed over its whole range."""
    shown = np.array([900_000, 400_000, 1234, 17, 1, 0])
    found = population(shown, 1_000_000, 10_000)
    laws = [stats.hypergeom(1_000_000, int(count), 10_000) for count in shown]
    assert found.coverage == pytest.approx(np.mean([1 - law.pmf(0) for law in laws]), rel=1e-9)
    seen = np.arange(1, 10_001)
    information = sum((law.pmf(seen) * seen * np.log2(seen)).sum() for law in laws)
    mean = shown.sum() / 100
    assert found.entropy == pytest.approx(math.log2(mean) - information / mean, rel=1e-7)
    above = 1 - np.mean([np.cumsum(law.pmf(np.arange(10_001))) for law in laws], axis=0)
    assert found.gini == pytest.approx(1 - (above**2).sum() / (mean / 6), rel=1e-7)


def test_nothing_shown_and_impossible_samples():
    found = population(np.zeros(3, dtype=np.int64), 4, 2)
    assert (found.coverage, found.gini, found.entropy) == (0, None, None)
    with pytest.raises(ValueError, match="cannot draw 6 lists of 5"):
        population(SHOWN, 5, 6)
    with pytest.raises(ValueError, match="without items"):
        population(np.array([], dtype=np.int64), 5, 1)


def world(rng, users=600, popular=0.5, items=200):
    """30 groups of users who send lists of five; a user's lists are drawn from an own taste."""
    law = 1 / np.arange(1, items + 1) ** popular
    found = Exposures(np.zeros(30, dtype=np.int64), np.zeros((30, items), dtype=np.int64))
    for user in range(users):
        taste = law * rng.gamma(0.3, 1, items)
        for _ in range(1 + min(int(rng.pareto(1.5)), 10)):
            found.shown[user % 30][rng.choice(items, 5, replace=False, p=taste / taste.sum())] += 1
            found.lists[user % 30] += 1
    return found


SPREAD = Spread(variance=0.0, users=600, blocks=50, effective_users=500, effective_blocks=40)


def test_the_same_lists_in_both_arms_differ_by_nothing_and_say_that_no_interval_is_known():
    same = world(np.random.default_rng(1), users=90)
    found = population_differences(same, same, SPREAD, 90).get("coverage")
    assert found is not None
    assert (found.value, found.upper(0.05), found.lower(0.05)) == (0, None, None)
    assert NO_WIDTH in found.spread.notes


def test_two_samples_of_one_law_differ_as_rarely_as_the_interval_says():
    """Independent users in both arms: the true difference is 0."""
    rng = np.random.default_rng(8)
    inside = dict.fromkeys(("coverage", "gini", "entropy"), 0)
    for _ in range(40):
        arms = world(rng, 150), world(rng, 150)
        estimates = population_differences(*arms, SPREAD, 300)
        for name in inside:
            found = estimates[name]
            assert found.spread.degrees_of_freedom == 29
            inside[name] += found.lower(0.05) < 0 < found.upper(0.05)
    for name, times in inside.items():
        assert stats.binomtest(times, 40, 0.9).pvalue > 1e-3, name


def test_too_few_groups_have_no_difference():
    one = Exposures(np.array([5, 0]), np.array([[4, 3, 2, 1, 0, 0], [0] * 6]))
    assert population_differences(one, one, SPREAD, 5) == {}
    assert sample_size(one) == 0


def test_parts_of_a_log_are_added():
    rng = np.random.default_rng(2)
    parts = [world(rng, 60) for _ in range(3)]
    whole = parts[0] + parts[1] + parts[2]
    other = parts[2] + (parts[0] + parts[1])
    assert np.array_equal(whole.shown, other.shown)
    assert sample_size(whole) == whole.lists.sum() // 2


def test_exposures_count_each_id_of_a_list_once_and_only_those_of_the_catalogue():
    lists = np.array([[-1, -1, -1], [0, 1, 0], [2, -7, -1]], dtype=np.int32)
    users = np.array([0, 30, 31, 5], dtype=np.uint64)
    found = exposures(users, np.array([1, 2, 1, 0], dtype=np.int32), lists, 4)
    assert found.lists[[0, 1, 5]].tolist() == [2, 1, 1]
    assert found.shown[0].tolist() == [1, 1, 1, 0]
    assert found.shown[1].tolist() == [1, 1, 0, 0]
    assert found.shown.sum() == 5
