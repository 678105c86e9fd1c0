"""Held-out items: no trace of their ratings is left, every item is in one part, ties are no order."""

from __future__ import annotations

import numpy as np
import pytest

from training.cold_start import PARTS, HeldOut, at_origins, parts_of, unpersonalised, without_ties
from training.rolling import origins
from training.split import split_by_time
from training.synthetic import synthetic_interactions

SPLIT = split_by_time(synthetic_interactions(3, users=150, items=60, per_user=20))


def test_every_item_is_in_one_part_of_almost_the_same_size() -> None:
    part = parts_of(3_706)
    assert sorted(np.bincount(part).tolist()) == [370] * 4 + [371] * 6
    assert (part == parts_of(3_706)).all()
    assert (part != parts_of(3_706, seed=2)).any()


def test_held_out_items_lose_their_ratings_and_are_all_that_is_asked_for() -> None:
    cold = parts_of(len(SPLIT.train.item_ids)) == 0
    held = HeldOut.of(SPLIT.before_test, SPLIT.test, cold)
    assert not cold[held.before.item].any()
    assert len(held.before) == int((~cold[SPLIT.before_test.item]).sum())
    assert held.alone.candidates.tolist() == cold.tolist()
    # In the whole catalogue stand the others that were rated before, too.
    rated = np.bincount(held.before.item, minlength=len(cold)) > 0
    assert held.whole.candidates.tolist() == (cold | rated).tolist()
    assert held.alone.relevant == held.whole.relevant
    assert all(cold[list(items)].all() for items in held.alone.relevant.values())


def test_every_part_is_held_out_at_every_origin() -> None:
    many = at_origins(origins(SPLIT.before_test, 4), 3)
    assert len(many) == 12
    assert len({each.cold.tobytes() for _, each in many}) == 3
    for origin, each in many:
        asked = each.asked(origin)
        assert asked.origin.cut_us == origin.cut_us
        assert asked.warm == sorted(each.alone.warm)
    assert PARTS == 10


def test_ties_are_in_random_order_and_nothing_else_is() -> None:
    scores = np.array([1.0, 3.0, 1.0, 1.0, 2.0])
    orders = [np.argsort(-each).tolist() for each in without_ties(scores, draws=200)]
    assert all(order[:2] == [1, 4] for order in orders)
    first = np.bincount([order[2] for order in orders], minlength=5)
    assert (first[[0, 2, 3]] > 40).all()


def test_the_score_of_what_all_ties_is_that_of_chance() -> None:
    cold = parts_of(len(SPLIT.train.item_ids)) < 5
    held = HeldOut.of(SPLIT.before_test, SPLIT.test, cold)
    warm = sorted(held.alone.warm)
    tied = unpersonalised(np.zeros(len(cold)), held.alone, warm).mean()
    rng = np.random.default_rng(7)
    chance = [unpersonalised(rng.random(len(cold)), held.alone, warm).mean() for _ in range(20)]
    assert tied == pytest.approx(np.mean(chance), abs=4 * np.std(chance) / np.sqrt(20))
