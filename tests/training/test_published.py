"""The offline numbers of docs/results.json are those of this code on the real data."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from training.data_set import DataSet
from training.experiment import read_experiment
from training.jobs import evaluate_job
from training.movielens import ML_1M
from training.settings import TrainingSettings

ROOT = Path(__file__).parents[2]


pytestmark = [
    pytest.mark.data,
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]


def test_the_published_offline_numbers_reproduce(movielens: Path, tmp_path: Path) -> None:
    published = msgspec.json.decode((ROOT / "docs" / "results.json").read_bytes())
    experiments = [read_experiment(ROOT / "training" / "configs" / f"{n}.toml") for n in ("champion", "challenger")]
    report = evaluate_job(
        DataSet.read(movielens, tmp_path, ML_1M.digest),
        experiments,
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        {each.name: TrainingSettings.load().machine for each in experiments},
        {each.name: lambda sweep, loss: None for each in experiments},
    )
    assert report.baseline == published["baseline"]
    assert report.data_hash == published["data_hash"]
    assert [model.name for model in report.models] == list(published["offline"])
    for model in report.models:
        expected = published["offline"][model.name]
        found = msgspec.to_builtins(model.warm)
        named = [key for key in found if key in expected]
        assert {"map_at_10", "ndcg_at_10", "recall_at_20", "coverage_at_10", "long_tail_share_at_10"} <= set(named)
        assert [found[key] for key in named] == pytest.approx([expected[key] for key in named], abs=0.002)
        if model.lift is not None:
            lift = {key: getattr(model.lift, key) for key in expected["lift"]}
            assert lift == pytest.approx(expected["lift"], abs=0.02)
