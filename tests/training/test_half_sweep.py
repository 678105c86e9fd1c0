"""Half a sweep: exact for rows with few and with many ratings, in bounded batches, the same bytes whatever threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training import half_sweep
from training.half_sweep import HalfSweep, Side, gram, workers
from training.ials import IalsSettings, fit, loss, sides
from training.synthetic import synthetic_interactions

DATA = synthetic_interactions(3, users=60, items=40, per_user=12)
SETTINGS = IalsSettings(dimension=8, sweeps=2, weights={"5": 1.7, "4": 0.3, "2": 0.5})


def side_of(lengths: list[int]) -> Side:
    """Row r has lengths[r] ratings of 4 stars for the columns 0, 1, 2…"""
    rows = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    columns = np.concatenate([np.arange(each) for each in [*lengths, 0]]).astype(np.int32)
    halves = np.full(len(rows), 8, np.uint8)
    return Side.of(rows, columns, halves, halves > 7, len(lengths))


def half_of(side: Side, fixed: NDArray[np.float32]) -> HalfSweep:
    """w = 0.1, λ = 1 + the number of ratings, c = 2 for 4 stars."""
    roots, preferences = torch.full((11,), 2.0).sqrt(), torch.ones(11)
    return HalfSweep.of(side, torch.from_numpy(fixed), 0.1, side.positives.double() + 1, roots, preferences)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_every_row_with_a_rating_is_in_one_batch_and_no_batch_is_larger_than_allowed(lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(half_sweep, "BATCH_ENTRIES", 30)
        batches = [each.tolist() for each in side_of(lengths).batches]
    assert sorted(row for batch in batches for row in batch) == [row for row, each in enumerate(lengths) if each]
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 30


def test_batches_waste_little_on_padding() -> None:
    lengths = np.random.default_rng(1).lognormal(3, 1.2, 50_000).astype(int).tolist()
    side = side_of(lengths)
    padded = sum(len(batch) * max(lengths[row] for row in batch.tolist()) for batch in side.batches)
    assert padded < 1.05 * sum(lengths)


def test_slices_of_a_long_row_hold_each_of_its_entries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    side = side_of([3, 25])
    monkeypatch.setattr(half_sweep, "BATCH_ENTRIES", 10)
    found = [entries[valid].tolist() for entries, valid in side.slices(np.array([1]))]
    assert [len(each) for each in found] == [10, 10, 5]
    assert [entry for each in found for entry in each] == list(range(3, 28))


@pytest.mark.parametrize("limit", [7, 16_384])
def test_rows_with_fewer_and_with_more_ratings_than_dimensions_solve_their_equations(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Against numpy in double precision; with the low limit the long rows come in slices."""
    monkeypatch.setattr(half_sweep, "BATCH_ENTRIES", limit)
    lengths = [0, 1, 2, 5, 6, 7, 12, 30]
    fixed = np.random.default_rng(2).standard_normal((30, 6), dtype=np.float32)
    side = side_of(lengths)
    half = half_of(side, fixed)
    for batch in side.batches:
        for row, found in zip(batch.tolist(), half.solve(batch).numpy(), strict=True):
            mine = fixed[: lengths[row]].astype(np.float64)
            matrix = 2 * mine.T @ mine + 0.1 * fixed.T.astype(np.float64) @ fixed + (1 + lengths[row]) * np.eye(6)
            np.testing.assert_allclose(found, np.linalg.solve(matrix, 2 * mine.sum(0)), rtol=1e-4, atol=1e-6)


def test_the_gram_matrix_is_summed_in_double_precision() -> None:
    """float32 knows no odd number beyond 2²⁴."""
    assert gram(torch.ones(2**24 + 1_001, 1)).item() == 2**24 + 1_001


@pytest.mark.parametrize("limit", [64, 16_384])
def test_the_bytes_are_the_same_whatever_threads(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(half_sweep, "BATCH_ENTRIES", limit)
    one = fit(DATA, SETTINGS, threads=1)
    for threads in (2, 3):
        more = fit(DATA, SETTINGS, threads)
        assert more.users.tobytes() == one.users.tobytes()
        assert more.items.tobytes() == one.items.tobytes()
        assert more.losses == one.losses


def test_torch_has_its_threads_back_when_a_batch_failed() -> None:
    before = torch.get_num_threads()

    def work(rows: NDArray[np.int64]) -> None:
        raise ValueError(f"rows {rows.tolist()}")

    with pytest.raises(ValueError, match=r"rows \[1\]"), workers(2) as by:
        list(by(work, [np.array([1]), np.array([2])]))
    assert torch.get_num_threads() == before


def test_the_loss_is_the_objective_over_all_cells() -> None:
    """Written out cell by cell in double precision."""
    factors = fit(DATA, SETTINGS, threads=1)
    x, y = factors.users.astype(np.float64), factors.items.astype(np.float64)
    weight = SETTINGS.confidence(DATA.rating).astype(np.float64)
    scores = (x[DATA.user] * y[DATA.item]).sum(1)
    expected = (weight * ((DATA.rating >= 4) - scores) ** 2).sum() + 0.1 * ((x @ y.T) ** 2).sum()
    for vectors, rows, others in ((x, DATA.user, len(y)), (y, DATA.item, len(x))):
        positives = np.bincount(rows[DATA.rating >= 4], minlength=len(vectors))
        expected += (np.sqrt(positives + 0.1 * others) * (vectors**2).sum(1)).sum()
    _, by_user, by_item = sides(DATA, SETTINGS)
    with workers(1) as by:
        found = loss(by_user, by_item, torch.from_numpy(factors.users), torch.from_numpy(factors.items), SETTINGS, by)
    assert found == pytest.approx(expected, rel=1e-6)
    assert factors.losses[-1] == found
