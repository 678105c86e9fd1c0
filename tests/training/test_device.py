"""The factors on another device, without one: torch's fake tensors refuse every operation across two devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError as DeviceMismatchError

from training import ials
from training.device import CPU, usable
from training.errors import ConfigurationError
from training.half_sweep import Rows, Side
from training.ials import IalsSettings, fit, fold_in
from training.interactions import Known
from training.synthetic import synthetic_interactions

DATA = synthetic_interactions(3, users=60, items=40, per_user=12)
# Some rows have fewer ratings than dimensions and some have more: both ways of solving are taken.
SETTINGS = IalsSettings(dimension=8, sweeps=2, weights={"2": 0.5})


ELSEWHERE = torch.device("meta")
"""A device that is not the processor: it knows shapes, types and where things are, but no numbers."""


@pytest.fixture
def prepared() -> tuple[Known, Side, Side]:
    """The ratings there. Cut into batches here, before the mode: that is work for the processor."""
    return ials.sides(DATA, SETTINGS, ELSEWHERE)


@pytest.fixture
def watched(prepared: tuple[Known, Side, Side]) -> Iterator[tuple[Known, Side, Side]]:
    """From here on every operation is watched."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield prepared


def vectors(rows: int, device: torch.device) -> torch.Tensor:
    return torch.empty(rows, SETTINGS.dimension, device=device)


def test_the_fake_device_refuses_what_mixes_devices(watched: tuple[Known, Side, Side]) -> None:
    """The tests below can fail."""
    with pytest.raises(DeviceMismatchError, match="meta and cpu"):
        vectors(3, ELSEWHERE) @ vectors(3, CPU).T


def test_half_a_sweep_runs_whole_on_another_device(watched: tuple[Known, Side, Side]) -> None:
    known, by_user, by_item = watched
    users, items = vectors(len(known.users), ELSEWHERE), vectors(len(known.items), ELSEWHERE)
    ials._solve(by_user, items, users, SETTINGS, map)
    ials._solve(by_item, users, items, SETTINGS, map)
    assert users.device == items.device == ELSEWHERE
    lengths = np.concatenate([by_user.lengths, by_item.lengths])
    assert lengths.min() < SETTINGS.dimension <= lengths.max()


def test_the_loss_leaves_another_device_only_as_a_number(watched: tuple[Known, Side, Side]) -> None:
    """Every sum is made there; what fails is the conversion at the end, for there are no numbers."""
    known, by_user, by_item = watched
    users, items = vectors(len(known.users), ELSEWHERE), vectors(len(known.items), ELSEWHERE)
    sums: list[torch.Tensor] = []

    def by(work: Callable[[Rows], torch.Tensor], batches: list[Rows]) -> Iterator[torch.Tensor]:
        sums.extend(map(work, batches))
        return iter(sums)

    with pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
        ials.loss(by_user, by_item, users, items, SETTINGS, by)
    assert [each.device for each in sums] == [ELSEWHERE] * len(by_user.batches)


def test_vectors_come_back_as_arrays_of_the_processor() -> None:
    factors = fit(DATA, SETTINGS, threads=1, device="cpu")
    assert type(factors.items) is type(factors.users) is np.ndarray
    folded = fold_in(DATA, factors.items, SETTINGS, device="cpu")
    assert type(folded) is np.ndarray
    assert folded.dtype == np.float32


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99", "", "mps"])
def test_a_device_that_cannot_be_used_is_named_with_the_remedy(name: str) -> None:
    told = rf"device '{name}' cannot be used: .*Take cpu \(--device, UNDERSTUDY_TORCH_DEVICE"
    with pytest.raises(ConfigurationError, match=told):
        usable(name)
    with pytest.raises(ConfigurationError, match=told):
        fit(DATA, SETTINGS, threads=1, device=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_cuda_gives_the_factors_of_the_processor() -> None:
    here, there = fit(DATA, SETTINGS, threads=1), fit(DATA, SETTINGS, threads=1, device="cuda")
    np.testing.assert_allclose(there.users @ there.items.T, here.users @ here.items.T, atol=1e-3)
    assert there.losses == pytest.approx(here.losses, rel=1e-4)
