"""The ranking: by hand, then against the plain definition of maximal marginal relevance, then what always holds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.lists import intra_list_diversity
from bentos.catalogue import catalogue_table
from bentos.ranking import DAY_US, YEAR_DAYS, Ranker, genre_bits
from bentos.ranking_settings import RankingSettings

GENRES = ["Drama", "Comedy", "Noir"]


def catalogue(
    genres: list[list[str]],
    popularity: list[int] | None = None,
    years: list[int | None] | None = None,
    last_us: list[int] | None = None,
) -> pa.Table:
    items = len(genres)
    counts = popularity or [1] * items
    ids = [f"i{row:04d}" for row in range(items)]
    years, last_us = years or [1990] * items, last_us or [1] * items
    return catalogue_table(ids, ids, genres, years, counts, [0] * items, last_us, [True] * items)


def order(
    settings: RankingSettings, table: pa.Table, scores: list[float], k: int, now_us: int = 0, **more: bool
) -> list:
    rows = np.arange(len(scores))
    return Ranker(settings, table).order(rows, np.array(scores, np.float32), k, now_us, **more).tolist()


def test_diversity_by_hand() -> None:
    """Two dramas and a comedy: relevance 1, .75 and 0; the second drama loses what likeness costs."""
    table = catalogue([["Drama"], ["Drama"], ["Comedy"]])
    assert order(RankingSettings(diversity=0.7), table, [5.0, 4.0, 1.0], 3) == [0, 1, 2]
    assert order(RankingSettings(diversity=0.8), table, [5.0, 4.0, 1.0], 3) == [0, 2, 1]


def test_half_alike_costs_half() -> None:
    table = catalogue([["Drama"], ["Comedy", "Drama"], ["Noir"]])
    assert order(RankingSettings(diversity=1.4), table, [5.0, 4.0, 1.0], 2) == [0, 1]
    assert order(RankingSettings(diversity=1.6), table, [5.0, 4.0, 1.0], 2) == [0, 2]


@pytest.mark.parametrize("of", ["release", "interaction"])
def test_recency_by_hand_and_by_the_clock_of_the_request(of: str) -> None:
    """Two items, of 1970 and 1980, with a half-life of ten years."""
    days = 10 * YEAR_DAYS
    now, earlier = int(20 * YEAR_DAYS * DAY_US), int(10 * YEAR_DAYS * DAY_US)
    moments = [int(1e-6 * DAY_US), earlier]
    table = catalogue([["Drama"]] * 3, years=[1970, 1980, None], last_us=[*moments, 0])
    settings = RankingSettings(recency=2.0, recency_of=of, half_life_days=days)  # type: ignore[arg-type]
    scores = [3.0, 1.8, 1.0]  # relevance 1, .4, 0
    # In 1990: 1 + 2 · ¼ against .4 + 2 · ½.
    assert order(settings, table, scores, 3, now) == [0, 1, 2]
    # In 1980: 1 + 2 · ½ against .4 + 2.
    assert order(settings, table, scores, 3, earlier) == [1, 0, 2]
    # So late that all are old: relevance decides.
    assert order(settings, table, scores, 3, 100 * now) == [0, 1, 2]


def test_an_item_of_the_future_is_as_new_as_can_be_and_one_of_unknown_age_is_old() -> None:
    table = catalogue([["Drama"]] * 3, years=[None, 2050, 1900])
    assert order(RankingSettings(recency=10), table, [3.0, 2.0, 1.0], 3, 0)[0] == 1


def test_the_tail_gets_its_place_and_the_last_item_makes_room() -> None:
    table = catalogue([["Drama"]] * 8, popularity=[9, 9, 9, 9, 5, 2, 2, 1])
    scores = [float(8 - row) for row in range(8)]
    assert order(RankingSettings(tail_slot=4, tail_from=7), table, scores, 4) == [0, 1, 2, 5]
    assert order(RankingSettings(tail_slot=2, tail_from=7), table, scores, 4) == [0, 5, 1, 2]
    assert order(RankingSettings(tail_slot=2, tail_from=8), table, scores, 4) == [0, 7, 1, 2]
    # A list that is too short for the place has none.
    assert order(RankingSettings(tail_slot=4, tail_from=7), table, scores, 3) == [0, 1, 2]
    assert order(RankingSettings(tail_slot=4, tail_from=7), table, scores, 4, tail=False) == [0, 1, 2, 3]


def test_a_tail_that_is_in_the_list_already_changes_nothing() -> None:
    table = catalogue([["Drama"]] * 4, popularity=[4, 3, 2, 1])
    assert order(RankingSettings(tail_slot=3, tail_from=3), table, [4.0, 3.0, 2.0, 1.0], 3) == [0, 1, 2]
    assert order(RankingSettings(tail_slot=1, tail_from=1), table, [4.0, 3.0, 2.0, 1.0], 3) == [0, 1, 2]


lists = st.lists(st.tuples(st.sets(st.sampled_from(GENRES)), st.integers(0, 9), st.integers(1900, 2030)), max_size=25)
weights = st.builds(
    RankingSettings,
    diversity=st.sampled_from([0.0, 0.1, 0.5, 3.0]),
    recency=st.sampled_from([0.0, 0.3, 2.0]),
    tail_slot=st.integers(0, 12),
    tail_from=st.integers(12, 30),
)


def marginal(settings: RankingSettings, items: list, relevance: list[float], chosen: list[int], item: int) -> float:
    """The definition, with the metric's own likeness of genres."""
    features = {row: frozenset(genres) for row, (genres, _, _) in enumerate(items)}
    likeness = max((1 - intra_list_diversity([item, other], features, 2) for other in chosen), default=0.0)
    age = max(0.0, -(items[item][2] - 1970) * YEAR_DAYS / settings.half_life_days)
    return relevance[item] + settings.recency * 2**-age - settings.diversity * likeness


@given(lists, weights, st.integers(1, 30), st.integers(0, 4))
def test_every_list_is_what_the_definition_says(items: list, settings: RankingSettings, k: int, steps: int) -> None:
    """`steps` distinct scores, so that many are equal."""
    table = catalogue(
        [sorted(genres) for genres, _, _ in items], [p for _, p, _ in items], [year for _, _, year in items]
    )
    scores = sorted((float(row % (steps + 1)) for row in range(len(items))), reverse=True)
    relevance = [(each - scores[-1]) / ((scores[0] - scores[-1]) or 1.0) for each in scores]
    chosen = order(settings, table, scores, k, tail=False)
    assert len(chosen) == len(set(chosen)) == min(k, len(items))
    for place, item in enumerate(chosen):
        left = [other for other in range(len(items)) if other not in chosen[:place]]
        values = {other: marginal(settings, items, relevance, chosen[:place], other) for other in left}
        assert values[item] >= max(values.values()) - 1e-9
        twins = [other for other in left if (items[other], relevance[other]) == (items[item], relevance[item])]
        assert item == min(twins)
    found = order(settings, table, scores, k)
    tail = [item for item in range(min(settings.tail_from, len(items))) if item not in chosen[:-1]]
    if 0 < settings.tail_slot <= len(chosen) and tail:
        least = min(tail, key=lambda item: (items[item][1], item))
        assert found == [*chosen[: settings.tail_slot - 1], least, *chosen[settings.tail_slot - 1 : -1]]
    else:
        assert found == chosen
    assert order(settings, table, scores, k) == found


@given(lists.filter(bool), st.integers(1, 30))
def test_relevance_alone_is_the_order_that_came_in(items: list, k: int) -> None:
    table = catalogue([sorted(genres) for genres, _, _ in items])
    ranker = Ranker(RankingSettings(), table)
    assert ranker.depth(k) == k
    scores = np.linspace(1, 0, len(items))
    assert ranker.order(np.arange(len(items)), scores, k, 0).tolist() == list(range(min(k, len(items))))


def test_more_genres_than_bits_in_a_word_are_told_apart() -> None:
    genres = [[f"g{number}"] for number in range(70)] + [["g0", "g69"], [], []]
    bits = genre_bits(catalogue(genres))
    assert bits.shape == (73, 2)
    shared = np.bitwise_count(bits[:, None] & bits[None]).sum(2)
    assert (shared[:70, :70] == np.eye(70)).all()
    assert np.flatnonzero(shared[70]).tolist() == [0, 69, 70]
    assert np.flatnonzero(shared[71]).tolist() == [71, 72]
