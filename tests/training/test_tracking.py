"""Runs and versions in a real MLflow store on sqlite."""

from __future__ import annotations

from pathlib import Path

import pytest

from bentos.bundle import read_manifest
from training.errors import ConfigurationError
from training.experiment import Experiment, ExportSettings
from training.export import export_bundle
from training.ials import IalsSettings
from training.model import fit_model
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    # MLflow's own imports and pools warn; what is tested here is what it stores.
    pytest.mark.filterwarnings("ignore"),
]


def test_a_version_with_alias_parameters_metrics_and_artifacts_is_registered(tmp_path: Path) -> None:
    from training import tracking

    interactions = synthetic_interactions(5, users=40, items=30, per_user=10)
    split = split_by_time(interactions)
    before, cut = split.train, split.validation_from_us
    settings = IalsSettings(dimension=4, sweeps=3)
    experiment = Experiment(name="champion", about="a test", ials=settings)
    movies = synthetic_movies(interactions)
    fitted = fit_model(before, movies, experiment, threads=1)
    bundle = tmp_path / "bundle"
    manifest = export_bundle(bundle, experiment, fitted, before, movies, cut, {"data_hash": "d"})
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run_id, number = tracking.log_training(uri, experiment, fitted.losses, bundle, manifest, "champion")
    _, second = tracking.log_training(uri, experiment, fitted.losses, bundle, manifest, "champion")
    assert (number, second) == ("1", "2")

    client = tracking.client(uri)
    version = client.get_model_version_by_alias(tracking.MODEL, "champion")
    assert version.version == "2" or str(version.version) == "2"
    assert version.tags["bento"] == manifest.tag
    run = client.get_run(run_id)
    assert run.data.params["dimension"] == "4"
    assert run.data.params["min_history"] == "1"
    assert run.data.tags["data_hash"] == "d"
    assert run.data.tags["configuration"] == experiment.digest
    history = [metric.value for metric in client.get_metric_history(run_id, "loss")]
    assert history == pytest.approx(fitted.losses)
    stored = tmp_path / "mlartifacts" / "training" / run_id / "artifacts" / "bundle"
    assert read_manifest(stored).version == manifest.version
    assert read_manifest(bundle).labels["model_version"] == "2"


def test_a_configuration_that_was_scored_on_the_test_period_is_refused_a_second_time(tmp_path: Path) -> None:
    from training import tracking
    from training.jobs import ensure_first

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    one = Experiment(name="m", about="", ials=IalsSettings(dimension=4))
    other = Experiment(name="m", about="", ials=IalsSettings(dimension=8))
    ensure_first(uri, [one, other], "data")
    tracking.log_evaluation(uri, "m on test", one, {"map_at_10": 0.1}, {"data_hash": "data"})
    with pytest.raises(ConfigurationError, match=r"m with these settings was scored .* on 20\d\d-\d\d-\d\d.*--again"):
        ensure_first(uri, [other, one], "data")
    renamed = Experiment(name="n", about="another", ials=one.ials, export=ExportSettings(min_history=9))
    with pytest.raises(ConfigurationError, match="n with these settings was scored"):
        ensure_first(uri, [renamed], "data")
    ensure_first(uri, [other], "data")
    ensure_first(uri, [one], "other data")
