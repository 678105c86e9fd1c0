"""Runs and versions in MLflow: parameters, a metric per sweep, the bundle as artifact, a model version with an alias.

Plain artifacts and `create_model_version` (MLflow's LoggedModel machinery adds seconds and another directory for
nothing here); metric names without "@", which MLflow refuses. Next module: `training.cli`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from bentos.bundle import BundleManifest, set_label
from training.experiment import Experiment

LIBRARIES = ("torch", "numpy", "faiss-cpu", "mlflow")
MODEL = "understudy-recommender"
"""The registered model; champion and challenger are aliases of its versions."""


def client(uri: str) -> Any:
    """An MLflow client for the store at `uri` (sqlite:///… or a server's address)."""
    import logging

    from mlflow.tracking import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def commit() -> str:
    """The commit of this code, with "+" when the checkout was changed; "unknown" outside a repository."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip()[:12] + ("+" if status.stdout.strip() else "")


def log_training(
    uri: str, experiment: Experiment, losses: list[float], bundle: Path, manifest: BundleManifest, alias: str | None
) -> tuple[str, str]:
    """Log a fitted and exported model; returns (run id, model version). The bundle's labels get both."""
    mlflow = client(uri)
    run = mlflow.create_run(_experiment(mlflow, uri, "training"), run_name=f"{experiment.name} {manifest.version}")
    run_id = run.info.run_id
    _parameters(mlflow, run_id, experiment)
    for sweep, loss in enumerate(losses, start=1):
        mlflow.log_metric(run_id, "loss", loss, step=sweep)
    for key, value in manifest.labels.items():
        mlflow.set_tag(run_id, key, value)
    mlflow.set_tag(run_id, "bundle_version", manifest.version)
    mlflow.log_artifacts(run_id, str(bundle), "bundle")
    number = _register(mlflow, run, experiment, manifest, alias)
    mlflow.set_terminated(run_id)
    set_label(bundle, "mlflow_run", run_id)
    set_label(bundle, "model_version", number)
    return run_id, number


def log_evaluation(
    uri: str, name: str, parameters: Experiment, values: Mapping[str, float], tags: Mapping[str, str]
) -> str:
    """Log the test metrics of one model as a run of their own; returns the run id."""
    return _log(uri, "evaluation", name, parameters, values, tags)


def log_trial(uri: str, experiment: Experiment, trial: Any, digest: str) -> None:
    """Log one trial of a search as a run of the MLflow experiment "tuning"."""
    names = ("map_at_10", "standard_error", "difference", "difference_error")
    values = {name: getattr(trial, name) for name in names}
    _log(uri, "tuning", f"trial {trial.number}", experiment, values, {"data_hash": digest, "commit": commit()})


def _log(
    uri: str, kind: str, name: str, parameters: Experiment, values: Mapping[str, float], tags: Mapping[str, str]
) -> str:
    """One whole run of the MLflow experiment `kind`; returns its id."""
    mlflow = client(uri)
    run_id: str = mlflow.create_run(_experiment(mlflow, uri, kind), run_name=name).info.run_id
    _parameters(mlflow, run_id, parameters)
    for key, value in values.items():
        mlflow.log_metric(run_id, key, value)
    for key, text in tags.items():
        mlflow.set_tag(run_id, key, text)
    mlflow.set_terminated(run_id)
    return run_id


def evaluated(uri: str, experiment: Experiment, digest: str) -> str:
    """The day (UTC) on which this model, under any name, was first scored on the test period; "" when never."""
    mlflow = client(uri)
    known = mlflow.get_experiment_by_name("evaluation")
    if known is None:
        return ""
    wanted = f"tags.model = '{experiment.model_digest}' and tags.data_hash = '{digest}'"
    runs = mlflow.search_runs([known.experiment_id], wanted, order_by=["attributes.start_time ASC"], max_results=1)
    return time.strftime("%Y-%m-%d", time.gmtime(runs[0].info.start_time / 1000)) if runs else ""


def _parameters(mlflow: Any, run_id: str, experiment: Experiment) -> None:
    values = {**msgspec.to_builtins(experiment.ials), **msgspec.to_builtins(experiment.export)}
    for key, value in values.items():
        mlflow.log_param(run_id, key, value)
    mlflow.set_tag(run_id, "about", experiment.about)
    mlflow.set_tag(run_id, "configuration", experiment.digest)
    mlflow.set_tag(run_id, "model", experiment.model_digest)
    for library in LIBRARIES:
        mlflow.set_tag(run_id, f"version.{library}", version(library))


def _experiment(mlflow: Any, uri: str, name: str) -> str:
    """The id of the MLflow experiment `name`; the artifacts of an sqlite store lie beside its file."""
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).absolute().parent / "mlartifacts" / name).as_uri()
    return str(mlflow.create_experiment(name, artifact_location=location))


def _register(mlflow: Any, run: Any, experiment: Experiment, manifest: BundleManifest, alias: str | None) -> str:
    """Make a version of `MODEL` from the run's bundle and point `alias` at it."""
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{run.info.artifact_uri}/bundle"
    tags = {"bundle_version": manifest.version, "bento": manifest.tag, "configuration": experiment.digest}
    number = str(mlflow.create_model_version(MODEL, source=source, run_id=run.info.run_id, tags=tags).version)
    if alias:
        mlflow.set_registered_model_alias(MODEL, alias, number)
    return number
