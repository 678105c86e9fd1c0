"""An interrupted fit goes on where it was and ends with the same bytes; what is not its own is not used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from training.checkpoint import Checkpoint
from training.ials import Factors, IalsSettings, fit
from training.synthetic import synthetic_interactions

DATA = synthetic_interactions(3, users=60, items=40, per_user=12)
SETTINGS = IalsSettings(dimension=8, sweeps=5)


class InterruptedFitError(Exception):
    pass


def run(checkpoint: Checkpoint, stop_after: int | None = None) -> tuple[Factors, list[int]]:
    sweeps: list[int] = []

    def told(sweep: int, loss: float) -> None:
        sweeps.append(sweep)
        if sweep == stop_after:
            raise InterruptedFitError

    return fit(DATA, SETTINGS, 1, told, checkpoint), sweeps


def begun(tmp_path: Path) -> Checkpoint:
    checkpoint = Checkpoint.of(tmp_path, DATA, SETTINGS)
    with pytest.raises(InterruptedFitError):
        run(checkpoint, stop_after=3)
    return checkpoint


def test_an_interrupted_fit_resumes_after_its_last_sweep_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole, _ = run(Checkpoint.of(tmp_path / "other", DATA, SETTINGS))
    resumed, sweeps = run(begun(tmp_path))
    assert sweeps == [4, 5]
    assert resumed.items.tobytes() == whole.items.tobytes()
    assert resumed.users.tobytes() == whole.users.tobytes()
    assert resumed.losses == whole.losses
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_other_data_and_other_settings_have_checkpoints_of_their_own(tmp_path: Path) -> None:
    checkpoint = begun(tmp_path)
    other = IalsSettings(dimension=8, sweeps=5, regularisation=2.0)
    assert Checkpoint.of(tmp_path, DATA, other).load() is None
    assert Checkpoint.of(tmp_path, DATA.where(DATA.rating > 1), SETTINGS).load() is None
    assert Checkpoint(checkpoint.path, "another key").load() is None


@pytest.mark.parametrize("column", ["user", "item", "rating", "timestamp_us"])
def test_one_other_value_in_any_column_is_other_data(tmp_path: Path, column: str) -> None:
    begun(tmp_path)
    values = getattr(DATA, column).copy()
    values[0] = values[0] - 1 if values[0] > 0 else 1
    assert Checkpoint.of(tmp_path, DATA, SETTINGS).load() is not None
    assert Checkpoint.of(tmp_path, replace(DATA, **{column: values}), SETTINGS).load() is None


@pytest.mark.parametrize("cut", [0, 10, 500, -1])
def test_a_damaged_checkpoint_is_not_used(tmp_path: Path, cut: int) -> None:
    checkpoint = begun(tmp_path)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:cut])
    _, sweeps = run(checkpoint)
    assert sweeps == [1, 2, 3, 4, 5]
