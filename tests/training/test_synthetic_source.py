"""Trained vectors to mix: of a bundle, in its dimension or fewer, or fitted on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bentos.bundles import synthetic_bundle
from training.errors import ConfigurationError
from training.synthetic import synthetic_interactions
from training.synthetic_source import of_bundle, of_fit, projected


def test_a_bundle_gives_its_vectors_or_a_projection(tmp_path: Path) -> None:
    manifest = synthetic_bundle(tmp_path / "bundle")
    whole, told = of_bundle(tmp_path / "bundle", None)
    assert whole.items.shape == (40, 8)
    assert told == f"bundle {manifest.tag}, 8 dimensions"
    fewer, told = of_bundle(tmp_path / "bundle", 3)
    assert (fewer.users.shape, fewer.items.shape) == ((50, 3), (40, 3))
    assert told.endswith("projected to 3")
    with pytest.raises(ConfigurationError, match=r"8 dimensions, fewer than 9\. Train with more, or ask for fewer"):
        of_bundle(tmp_path / "bundle", 9)


def test_a_projection_keeps_scores_when_the_items_have_no_more_directions() -> None:
    rng = np.random.default_rng(1)
    items = (rng.standard_normal((50, 3)) @ rng.standard_normal((3, 8))).astype(np.float32)
    users = rng.standard_normal((20, 8), dtype=np.float32)
    x, y = projected(users, items, 3)
    np.testing.assert_allclose(x @ y.T, users @ items.T, rtol=1e-3, atol=1e-4)


def test_a_fit_gives_vectors_of_the_dimension_asked_for() -> None:
    found, told = of_fit(synthetic_interactions(1, users=40, items=30, per_user=8), "a table", 4, threads=1)
    assert found.users.shape == (40, 4)
    assert told == "iALS-4 on a table"
