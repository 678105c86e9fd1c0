"""Genre popularity by hand: three films that were rated and three that were not."""

from __future__ import annotations

import numpy as np
import pytest

from training.genre_popularity import GENRE_POPULARITIES, genre_flags, genre_means
from training.interactions import Movie

MOVIES = {
    "a": Movie("A", ("Action", "Sci-Fi"), None),
    "b": Movie("B", ("Action",), None),
    "c": Movie("C", ("Action",), None),
    "d": Movie("D", ("Action", "Sci-Fi"), None),
    "e": Movie("E", ("Comedy",), None),
}
IDS = [*MOVIES, "unknown"]
FLAGS = genre_flags(IDS, MOVIES)
COUNTS = np.array([10.0, 4, 1, 0, 0, 0])
KNOWN = np.array([True, True, True, False, False, False])


def test_flags_have_a_column_for_each_genre() -> None:
    # Action, Comedy, Sci-Fi.
    assert FLAGS.tolist() == [[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert genre_means(FLAGS, COUNTS, KNOWN).tolist() == [5, 0, 10]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("same genres, mean", [10, 2.5, 2.5, 10, 0, 0]),
        # 20 items of the mean count 5 beside one, two and none.
        ("same genres, shrunk mean", [110 / 21, 105 / 22, 105 / 22, 110 / 21, 5, 5]),
        ("genres' means, summed", [15, 5, 5, 15, 0, 0]),
        ("genres' means, their mean", [7.5, 5, 5, 7.5, 0, 0]),
        ("genres' means, the largest", [10, 5, 5, 10, 0, 0]),
        ("genres' totals, summed", [25, 15, 15, 25, 0, 0]),
    ],
)
def test_every_way_to_count_by_hand(name: str, expected: list[float]) -> None:
    assert GENRE_POPULARITIES[name](FLAGS, COUNTS, KNOWN).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", GENRE_POPULARITIES)
def test_what_nobody_could_know_changes_no_score(name: str) -> None:
    """Counts of items that were not rated before the cut are not looked at."""
    told = COUNTS + np.where(KNOWN, 0, 99)
    way = GENRE_POPULARITIES[name]
    np.testing.assert_array_equal(way(FLAGS, told, KNOWN), way(FLAGS, COUNTS, KNOWN))
