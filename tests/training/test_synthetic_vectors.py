"""Made-up vectors: lengths and directions as each kind promises, in blocks that leave no seam."""

from __future__ import annotations

import numpy as np
import pytest

from training import synthetic_vectors
from training.synthetic_vectors import clustered, mixed, normal, on_sphere

RNG = np.random.default_rng(1)
TRAINED = (RNG.standard_normal((400, 4)) @ RNG.standard_normal((4, 16))).astype(np.float32)


def test_a_mix_lies_between_its_parents_but_for_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """All trained vectors lie in four dimensions; of a mix only the noise may leave them."""
    monkeypatch.setattr(synthetic_vectors, "BLOCK", 1_000)
    found = mixed(TRAINED, 3_500, np.random.default_rng(2))
    _, _, basis = np.linalg.svd(TRAINED, full_matrices=False)
    inside = np.linalg.norm(found @ basis[:4].T, axis=1)
    outside = np.linalg.norm(found @ basis[4:].T, axis=1)
    ratio = outside / inside
    assert found.dtype == np.float32
    assert 0.08 < np.median(ratio) < 0.16  # 15 % noise, of which 12 of 16 dimensions are outside
    assert np.quantile(np.linalg.norm(found, axis=1), 0.99) < 1.1 * np.linalg.norm(TRAINED, axis=1).max()


def test_a_zero_vector_is_nobodys_parent() -> None:
    trained = np.vstack([np.zeros((50, 4), np.float32), np.ones((1, 4), np.float32)])
    assert np.linalg.norm(mixed(trained, 100, np.random.default_rng(1)), axis=1).min() > 1


def test_a_row_belongs_to_the_cluster_of_its_number_and_lengths_are_log_normal() -> None:
    rng = np.random.default_rng(3)
    centres = on_sphere(5, 64, rng)
    found = clustered(centres, 5_000, rng)
    directions = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert ((directions @ centres.T).argmax(1) == np.arange(5_000) % 5).mean() > 0.99
    assert np.log(np.linalg.norm(found, axis=1)).std() == pytest.approx(0.35, rel=0.05)


def test_gaussian_rows_have_about_the_same_length() -> None:
    lengths = np.linalg.norm(normal((2_000, 64), np.random.default_rng(4)), axis=1)
    assert lengths.mean() == pytest.approx(1, abs=0.02)
    assert lengths.std() < 0.15
