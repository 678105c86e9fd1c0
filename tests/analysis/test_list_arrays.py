"""The metrics over arrays are those of `analysis.lists`, whatever the lists: that is all that is asked of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import list_arrays, lists
from analysis.items import PAD, items_of_catalogue, items_of_tail
from analysis.rank_biased_overlap import extrapolated

K = 4
IDS = [f"i{number}" for number in range(9)]
GENRES = [[], ["a"], ["a", "b"], ["c"], ["b", "c", "d"], ["a"], [], ["d"], ["a", "c"]]
POPULARITY = [0, 5, 1, 17, 3, 0, 2, 9, 4]
TAIL = [number % 2 == 0 for number in range(9)]
ITEMS = items_of_catalogue(IDS, TAIL, POPULARITY, GENRES)
ranked = st.lists(st.sampled_from([*IDS, "stranger", "other"]), max_size=6)
some = st.lists(ranked, min_size=1, max_size=12)


def rows(many) -> list_arrays.Lists:
    numbers = [[ITEMS.number(item) for item in each[:K]] for each in many]
    return np.array([each + [PAD] * (K - len(each)) for each in numbers], dtype=np.int32)


@given(some)
@settings(max_examples=150, deadline=None)
def test_each_list_has_the_value_of_the_definition(many):
    table = rows(many)
    tail = {item for item, is_tail in zip(IDS, TAIL, strict=True) if is_tail}
    liked, genres = dict(zip(IDS, POPULARITY, strict=True)), dict(zip(IDS, map(frozenset, GENRES), strict=True))
    expected = {
        "tail": [lists.long_tail_share(each, tail, K) for each in many],
        "unknown": [lists.unknown_items(each, IDS, K) for each in many],
        "duplicates": [lists.duplicates(each, K) for each in many],
        "novelty": [lists.novelty(each, liked, sum(POPULARITY), K) for each in many],
        "diversity": [lists.intra_list_diversity(each, genres, K) for each in many],
        "length": [len(each[:K]) for each in many],
    }
    found = {
        "tail": list_arrays.tail_shares(table, ITEMS),
        "unknown": list_arrays.unknown_shares(table),
        "duplicates": list_arrays.duplicate_shares(table),
        "novelty": list_arrays.novelties(table, ITEMS.popularity),
        "diversity": list_arrays.diversities(table, ITEMS.features),
        "length": list_arrays.lengths(table),
    }
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values, abs=1e-12), name


@given(st.lists(st.tuples(ranked, ranked), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_each_pair_of_lists_has_the_value_of_the_definition(pairs):
    found = list_arrays.matches(rows([one for one, _ in pairs]), rows([other for _, other in pairs]))
    for values, metric in (
        (found.overlap(), lambda one, other: lists.overlap(one, other, K)),
        (found.jaccard(), lambda one, other: lists.jaccard(one, other, K)),
        (found.displacement(), lambda one, other: lists.displacement(one, other, K)),
        (found.top.astype(float), lists.top_agreement),
        (found.rank_biased_overlap(), lambda one, other: extrapolated(one[:K], other[:K])),
    ):
        assert values.tolist() == pytest.approx([metric(one, other) for one, other in pairs], abs=1e-12)


def test_more_pairs_than_are_compared_at_once(monkeypatch):
    monkeypatch.setattr(list_arrays, "CHUNK", 2)
    table = rows([["i0", "i1"], ["i1"], ["i2", "i0", "i1"], [], ["i5"]])
    assert list_arrays.matches(table, table).overlap().tolist() == [1.0] * 5
    assert list_arrays.matches(table, table[::-1]).shared[:, -1].tolist() == [0, 0, 3, 0, 0]


def test_an_id_outside_the_catalogue_is_the_same_everywhere_and_no_item():
    assert ITEMS.number("stranger") == items_of_tail(["x"]).number("stranger") < PAD
    assert ITEMS.number("stranger") != ITEMS.number("other")
    assert [ITEMS.number(item) for item in IDS] == list(range(9))


def test_a_catalogue_with_an_id_twice_is_refused():
    with pytest.raises(ValueError, match="1 item ids stand twice"):
        items_of_catalogue(["a", "a"], [True, False], None, None)


def test_more_genres_than_bits_of_a_word():
    genres = [[f"g{number}"] for number in range(70)] + [[f"g{number}" for number in range(70)]]
    items = items_of_catalogue([str(number) for number in range(71)], [True] * 71, None, genres)
    table = np.array([[0, 70], [0, 69]], dtype=np.int32)
    assert list_arrays.diversities(table, items.features).tolist() == pytest.approx([69 / 70, 1.0])
