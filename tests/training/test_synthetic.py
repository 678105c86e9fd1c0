"""The generator as a whole: same settings, same bytes; planned counts; MovieLens' marginals at MovieLens' size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from training import synthetic
from training.errors import ConfigurationError
from training.layouts import Layout
from training.ratings import read_ratings
from training.synthetic import Part, SyntheticSettings, World
from training.synthetic_vectors import Vectors

SETTINGS = SyntheticSettings(users=900, items=700, interactions=18_000, norms="lognormal", dimension=8)


def together(world: World, threads: int) -> Part:
    parts = list(world.parts(threads))
    return Part(*(np.concatenate([getattr(part, name) for part in parts]) for name in Part.__dataclass_fields__))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are many."""
    monkeypatch.setattr(synthetic, "PART_CANDIDATES", 5_000)


def test_the_same_settings_give_the_same_bytes_whatever_threads_and_another_seed_does_not() -> None:
    one, two = (together(World.of(SETTINGS), threads) for threads in (1, 3))
    other = together(World.of(SyntheticSettings(**{**vars_of(SETTINGS), "seed": 2})), 1)
    for name in Part.__dataclass_fields__:
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
        assert getattr(one, name).tobytes() != getattr(other, name).tobytes()


def vars_of(settings: SyntheticSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


def test_every_user_has_the_planned_count_of_distinct_items_and_parts_are_bounded() -> None:
    world = World.of(SETTINGS)
    found = together(world, 2)
    assert len(found.user) == 18_000
    np.testing.assert_array_equal(np.bincount(found.user, minlength=900), world.counts)
    assert len(set(zip(found.user.tolist(), found.item.tolist(), strict=True))) == 18_000
    assert (np.diff(found.user) >= 0).all()
    sizes = [len(part.user) for part in world.parts(1)]
    assert len(sizes) > 10
    assert max(sizes) <= 5_000 / 4 + world.counts.max()


def test_who_stops_reading_stops_the_threads() -> None:
    parts = World.of(SETTINGS).parts(2)
    next(parts)
    parts.close()


def test_als_mixes_trained_vectors_and_is_refused_without_them() -> None:
    als = SyntheticSettings(users=50, items=40, interactions=200, norms="als", dimension=8)
    rng = np.random.default_rng(1)
    trained = Vectors(*(rng.standard_normal((30, 8), dtype=np.float32) for _ in range(2)))
    assert len(together(World.of(als, trained), 1).user) == 200
    for unfit in (None, Vectors(trained.users[:, :4], trained.items[:, :4])):
        with pytest.raises(ConfigurationError, match="trained vectors of 8 dimensions"):
            World.of(als, unfit)


def test_sizes_that_cannot_be_are_told() -> None:
    with pytest.raises(ValueError, match=r"at most 5 each \(half the 10 items\)"):
        SyntheticSettings(users=4, items=10, interactions=21, norms="gaussian")


@pytest.mark.data
def test_at_the_size_of_movielens_1m_it_has_the_marginals_of_movielens_1m(
    movielens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kolmogorov–Smirnov distances of users' and films' counts, and the shares of the stars."""
    monkeypatch.setattr(synthetic, "PART_CANDIDATES", 1_000_000)
    real = read_ratings(movielens / "ratings.dat", Layout.of(movielens))
    same_size = SyntheticSettings(users=6_040, items=3_706, interactions=1_000_209, norms="lognormal")
    found = together(World.of(same_size), 2)
    for name, most in (("user", 0.05), ("item", 0.06)):
        counts = [np.bincount(getattr(each, name)) for each in (real, found)]
        assert stats.ks_2samp(*counts).statistic < most
    shares = [np.bincount(each.rating.astype(int), minlength=6) / 1_000_209 for each in (real, found)]
    np.testing.assert_allclose(shares[1], shares[0], atol=0.012)
