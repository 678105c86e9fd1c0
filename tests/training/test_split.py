"""The split: one moment for everybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataError
from training.interactions import Interactions, from_columns
from training.layouts import Layout
from training.ratings import read_ratings
from training.split import split_by_time


def at(times: list[int]) -> Interactions:
    names = np.array([str(number) for number in range(len(times))])
    return from_columns(names, names, np.full(len(times), 5, np.int8), np.array(times, np.int64))


def test_by_hand() -> None:
    split = split_by_time(at(list(range(10))))
    assert [part.timestamp_us.tolist() for part in (split.train, split.validation, split.test)] == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [8],
        [9],
    ]
    assert split.before_test.timestamp_us.tolist() == list(range(9))


def test_equal_times_fall_on_the_later_side_together() -> None:
    split = split_by_time(at([0, 1, 2, 3, 4, 5, 6, 8, 8, 8, 8, 9, 9]))
    assert 8 not in split.train.timestamp_us
    assert set(split.validation.timestamp_us) == {8}


@given(st.lists(st.integers(0, 10**6), min_size=30, max_size=200))
def test_no_part_touches_another_and_nothing_is_lost(times: list[int]) -> None:
    try:
        split = split_by_time(at(times))
    except DataError:
        return
    train, validation, test = (part.timestamp_us for part in (split.train, split.validation, split.test))
    assert train.max() < validation.min() <= validation.max() < test.min()
    assert sorted([*train, *validation, *test]) == sorted(times)


@pytest.mark.parametrize("times", [[], [1], [5] * 20])
def test_a_split_that_leaves_a_part_empty_is_refused(times: list[int]) -> None:
    with pytest.raises(DataError):
        split_by_time(at(times))


@pytest.mark.data
def test_the_cuts_of_movielens_1m(movielens: Path) -> None:
    split = split_by_time(read_ratings(movielens / "ratings.dat", Layout.of(movielens)))
    assert len(split.train) + len(split.validation) + len(split.test) == 1_000_209
    # Research note §2c: 90 % of the ratings are before 30 December 2000.
    assert split.test_from_us // 86_400_000_000 == np.datetime64("2000-12-29").astype(int)
    assert len(np.unique(split.before_test.where(split.before_test.timestamp_us < split.test_from_us).user)) > 5_000
