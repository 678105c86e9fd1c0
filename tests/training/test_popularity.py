"""The popularity family by hand: one film liked at known ages."""

from __future__ import annotations

import numpy as np
import pytest

from bentos.catalogue import RECENT_LEAST, RECENT_RANK
from training.interactions import from_columns
from training.popularity import DAY_US, cold_scores, family_scores

NOW = 1_000 * DAY_US


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (1, {"all-time": 1, "30 days": 1, "7 days": 1, "decayed": 2 ** (-1 / 30)}),
        (7, {"all-time": 1, "30 days": 1, "7 days": 1, "decayed": 2 ** (-7 / 30)}),
        (8, {"all-time": 1, "30 days": 1, "7 days": 0, "decayed": 2 ** (-8 / 30)}),
        (30, {"all-time": 1, "30 days": 1, "7 days": 0, "decayed": 0.5}),
        (31, {"all-time": 1, "30 days": 0, "7 days": 0, "decayed": 2 ** (-31 / 30)}),
        (60, {"all-time": 1, "30 days": 0, "7 days": 0, "decayed": 0.25}),
    ],
)
def test_a_like_counts_by_its_age(age: int, expected: dict[str, float]) -> None:
    data = from_columns(
        np.array(["u", "v"]), np.array(["a", "b"]), np.array([4, 3], np.int8), np.array([NOW - age * DAY_US] * 2)
    )
    scores = family_scores(data, NOW)
    assert {name.removeprefix("popularity "): each[0] for name, each in scores.items()} == pytest.approx(expected)
    assert all(each[1] == 0 for each in scores.values())  # three stars are no like


@pytest.mark.parametrize(("recently", "first"), [(RECENT_LEAST, "lately"), (RECENT_LEAST - 1, "always")])
def test_cold_users_get_what_is_popular_of_late_only_when_ten_items_are(recently: int, first: str) -> None:
    """`always` has most likes, all of them old; nine others and `lately` have likes of yesterday."""
    items = [f"other{number}" for number in range(RECENT_RANK - 1)] + ["lately"]
    counts = [recently] * (RECENT_RANK - 1) + [RECENT_LEAST + 1]
    shown = np.repeat([*items, "always"], [*counts, 5 * RECENT_LEAST])
    ages = np.where(shown == "always", 100, 1)
    data = from_columns(np.arange(len(shown)).astype(str), shown, np.full(len(shown), 5, np.int8), NOW - ages * DAY_US)
    scores = cold_scores(data, NOW)
    assert data.item_ids[int(scores.argmax())] == first
    # Of equal recent counts the order is that of all time, then of the ids.
    assert len({scores[data.item_ids.index(item)] for item in items[:-1]}) == 1
