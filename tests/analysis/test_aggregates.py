from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.aggregates import cell_sums, combined, time_blocks
from analysis.estimates import mean
from analysis.measures import MEAN_OF_REQUESTS, MEAN_OF_USERS


def test_values_are_summed_per_user_and_block():
    cells = cell_sums(np.array(["b", "a", "b", "b"]), np.array([1, 1, 2, 1]), np.array([1.0, 2.0, 4.0, 8.0]))
    assert cells.users.tolist() == ["a", "b", "b"]
    assert cells.blocks.tolist() == [1, 1, 2]
    assert cells.counts.tolist() == [1, 2, 1]
    assert cells.sums.tolist() == [2, 9, 4]
    assert cells.requests == 4


def test_blocks_are_counted_from_the_epoch_also_before_it():
    assert time_blocks(np.array([0, 9, 10, -1]), 10).tolist() == [0, 0, 1, -1]


def test_nothing_and_nothing_is_nothing():
    assert combined([]).requests == 0
    assert (combined([]) + combined([])).requests == 0


rows = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"), st.integers(-3, 5), st.floats(-1, 1, allow_subnormal=False), st.integers(0, 3)
    ),
    min_size=1,
    max_size=60,
)


@given(rows, st.sampled_from([MEAN_OF_USERS, MEAN_OF_REQUESTS]), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_any_partition_in_any_order_gives_the_same_estimate(found, average, random):
    """Shards of a log may be cut anywhere and added in any order: the estimate agrees to 1e-12."""
    users, blocks, values, shards = (np.array(column) for column in zip(*found, strict=True))
    whole = mean(cell_sums(users, blocks, values), average)
    order = list(range(4))
    random.shuffle(order)
    parts = [cell_sums(users[shards == n], blocks[shards == n], values[shards == n]) for n in order]
    other = mean(combined(parts), average)
    assert whole is not None
    assert other is not None
    assert abs(other.value - whole.value) <= 1e-12
    assert abs(other.spread.variance - whole.spread.variance) <= 1e-12
    assert (other.requests, other.spread.users, other.spread.blocks) == (
        whole.requests,
        whole.spread.users,
        whole.spread.blocks,
    )
    assert abs(other.spread.effective_users - whole.spread.effective_users) <= 1e-9
