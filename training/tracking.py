"""Runs in MLflow: of a training or a use of the test period from its beginning; of other things as a whole afterwards.

A run that is open says which process it is of and, when that fails, so. Next module: `training.uses`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bentos.index_record import METRICS
from training.experiment import Experiment
from training.mlflow_store import client, experiment_id, told
from training.processes import is_gone, this_process
from training.run_facts import LoggedData, commit, describe
from training.settings import Machine

TESTED: Final = ("evaluation", "protocols")
"""MLflow experiments whose runs used the test period."""


@dataclass
class OpenRun:
    """A run that is going on. `sweep` takes the loss of each sweep of a training as it ends."""

    id: str
    artifacts: str
    """Where MLflow keeps the run's artifacts."""
    started_ms: int
    mlflow: Any
    losses: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Loss and time in ms by sweep."""

    def sweep(self, number: int, loss: float) -> None:
        """Sweep `number`, from 1, has ended with `loss`."""
        self.losses[number] = (loss, _now_ms())

    def complete(self, losses: list[float]) -> None:
        """The losses of all sweeps: those of a process that was interrupted stand at the start of this run."""
        for number, loss in enumerate(losses, start=1):
            self.losses.setdefault(number, (loss, self.started_ms))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        from mlflow.entities import RunTag

        self.mlflow.log_batch(self.id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log(self, values: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Log metrics, and what else is said of them."""
        from mlflow.entities import Metric, RunTag

        metrics = [Metric(key, value, _now_ms(), 0) for key, value in values.items()]
        self.mlflow.log_batch(self.id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_index(self, directory: Path) -> None:
        """How the bundle's index was chosen: the files in `directory`, and the numbers of the kept one as metrics."""
        from mlflow.entities import Metric

        self.mlflow.log_artifacts(self.id, str(directory), "index")
        numbers = json.loads((directory / METRICS).read_bytes())
        self.mlflow.log_batch(self.id, metrics=[Metric(key, value, _now_ms(), 0) for key, value in numbers.items()])

    def end(self, status: str) -> None:
        """Log the losses and close the run: FINISHED, FAILED, or KILLED."""
        from mlflow.entities import Metric

        metrics = [Metric("loss", loss, at, sweep) for sweep, (loss, at) in sorted(self.losses.items())]
        self.mlflow.log_batch(self.id, metrics=metrics)
        self.mlflow.set_terminated(self.id, status)


@contextlib.contextmanager
def training_run(
    uri: str, experiment: Experiment, data: LoggedData, tags: Mapping[str, str], machine: Machine
) -> Iterator[OpenRun]:
    """The run of one training, from before the fit: FINISHED at the end, FAILED or KILLED by what is raised inside."""
    with _open_run(uri, "training", experiment.name, experiment, data, tags, machine) as run:
        yield run


@contextlib.contextmanager
def scoring_run(
    uri: str, kind: str, experiment: Experiment, data: LoggedData, tags: Mapping[str, str]
) -> Iterator[OpenRun]:
    """The run of one model on the test period, from before the first number, which it is given by `OpenRun.log`.

    `kind` is one of `TESTED`. It ends as a training's; one that was killed outright stays RUNNING, and counts.
    """
    name = f"{experiment.name}, {tags['protocol']}" if "protocol" in tags else f"{experiment.name} on test"
    with _open_run(uri, kind, name, experiment, data, {"commit": commit(), **tags}) as run:
        yield run


@contextlib.contextmanager
def _open_run(
    uri: str,
    kind: str,
    name: str,
    experiment: Experiment,
    data: LoggedData,
    tags: Mapping[str, str],
    machine: Machine | None = None,
) -> Iterator[OpenRun]:
    """A run of the MLflow experiment `kind`; its model and data are told by the very call that makes it.

    Runs of processes that were killed before they could say so are marked as KILLED first.
    """
    known = this_process() | {"model": experiment.model_digest, "data_hash": data.digest}
    with told(uri):
        mlflow = client(uri)
        within = experiment_id(mlflow, uri, kind)
        _close_gone(mlflow, within)
        info = mlflow.create_run(within, run_name=name, tags=known).info
        run = OpenRun(info.run_id, info.artifact_uri, info.start_time, mlflow)
    try:
        with told(uri):
            describe(mlflow, run.id, experiment, tags, data, kind, machine)
            yield run
            run.end("FINISHED")
    except BaseException as error:
        _failed(run, error)
        raise


def log_rolling(
    uri: str, experiment: Experiment, data: LoggedData, values: Mapping[str, float], tags: Mapping[str, str]
) -> str:
    """Log what a model is worth over rolling origins; no use of the test period, so a kind of its own."""
    return _log(uri, "rolling", f"{experiment.name} over time", experiment, data, values, {"commit": commit(), **tags})


def log_trial(uri: str, experiment: Experiment, trial: Any, data: LoggedData) -> None:
    """Log one trial of a search as a run of the MLflow experiment "tuning"."""
    names = ("map_at_10", "standard_error", "difference", "difference_error")
    values = {name: getattr(trial, name) for name in names}
    _log(uri, "tuning", f"trial {trial.number}", experiment, data, values, {"commit": commit()})


def evaluated(uri: str, experiment: Experiment, digest: str) -> str:
    """When (UTC) this model, under any name, was first scored on the test period of this data, by its runs of any
    status; "" when never.
    """
    with told(uri):
        mlflow = client(uri)
        known = [found.experiment_id for name in TESTED if (found := mlflow.get_experiment_by_name(name))]
        if not known:
            return ""
        wanted = f"tags.model = '{experiment.model_digest}' and tags.data_hash = '{digest}'"
        runs = mlflow.search_runs(known, wanted, order_by=["attributes.start_time ASC"], max_results=1)
    if not runs:
        return ""
    info = runs[0].info
    return f"{time.strftime('%Y-%m-%d', time.gmtime(info.start_time / 1000))} (run {info.run_id[:8]}, {info.status})"


def _log(
    uri: str,
    kind: str,
    name: str,
    experiment: Experiment,
    data: LoggedData,
    values: Mapping[str, float],
    tags: Mapping[str, str],
) -> str:
    """One whole run of the MLflow experiment `kind`; returns its id."""
    with told(uri):
        mlflow = client(uri)
        run_id: str = mlflow.create_run(experiment_id(mlflow, uri, kind), run_name=name).info.run_id
        describe(mlflow, run_id, experiment, tags, data, kind)
        for key, value in values.items():
            mlflow.log_metric(run_id, key, value)
        mlflow.set_terminated(run_id)
    return run_id


def _close_gone(mlflow: Any, experiment_id: str) -> None:
    """Mark as KILLED what says RUNNING and whose process is certainly gone."""
    for run in mlflow.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if is_gone(run.data.tags):
            mlflow.set_tag(run.info.run_id, "error", "its process was gone when the next one began")
            mlflow.set_terminated(run.info.run_id, "KILLED")


def _failed(run: OpenRun, error: BaseException) -> None:
    """Close the run of a training that ended by `error`, which is what must be told: not that MLflow is gone too."""
    from mlflow.exceptions import MlflowException

    status = "FAILED" if isinstance(error, Exception) else "KILLED"
    with contextlib.suppress(MlflowException):
        run.tag({"error": f"{type(error).__name__}: {error}"[:1_000]})
        run.end(status)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
