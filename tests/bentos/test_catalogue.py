"""The catalogue: its two orders, and what is refused."""

from __future__ import annotations

import pyarrow as pa
import pytest

from bentos.catalogue import by_popularity, by_recent_popularity, catalogue_table


def table_of(ever: list[int], recent: list[int]) -> pa.Table:
    count = len(ever)
    ids = [f"i{number}" for number in range(count)]
    return catalogue_table(ids, ids, [[]] * count, [None] * count, ever, recent, [0] * count, [False] * count)


def test_the_most_popular_come_first_and_equal_ones_in_id_order() -> None:
    assert by_popularity(table_of([1, 5, 5, 2], [0, 0, 0, 0])).tolist() == [1, 2, 3, 0]


def test_recent_popularity_decides_then_popularity_then_the_id() -> None:
    assert by_recent_popularity(table_of([9, 4, 4, 8, 8], [0, 3, 3, 1, 2])).tolist() == [1, 2, 4, 3, 0]


@pytest.mark.parametrize(("ever", "recent", "reason"), [([1], [-1], "negative"), ([1], [2], "above the popularity")])
def test_impossible_counts_are_refused(ever: list[int], recent: list[int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        table_of(ever, recent)
