"""The popularity family by hand: one film liked at known ages."""

from __future__ import annotations

import numpy as np
import pytest

from training.interactions import from_columns
from training.popularity import DAY_US, family_scores

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
