"""What a run in MLflow says of itself: all settings, the data set, the commit, versions of the libraries.

Metric names are without "@", which MLflow refuses. Next module: `training.tracking`.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from training.experiment import Experiment
from training.settings import Machine

LIBRARIES: Final = ("torch", "numpy", "faiss-cpu", "pyarrow", "mlflow")
"""Those whose version may show in a bundle's bytes, and MLflow."""
COLUMNS: Final = {"user_id": "string", "item_id": "string", "rating": "float", "timestamp_us": "long"}


@dataclass(frozen=True)
class LoggedData:
    """A data set as MLflow names it: `name` and `digest` of its files; its size; first and last moment in µs."""

    name: str
    digest: str
    ratings: int
    users: int
    items: int
    from_us: int
    to_us: int
    synthetic: str = ""
    """What made-up data says of itself; "" for real data."""


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


def parameters(experiment: Experiment) -> dict[str, str]:
    """All settings of an experiment as MLflow parameters; those of the content model begin with "content."."""
    values = {**msgspec.to_builtins(experiment.ials), **msgspec.to_builtins(experiment.export)}
    content = msgspec.to_builtins(experiment.content) if experiment.content else {}
    values |= {f"content.{key}": value for key, value in content.items()}
    return {key: str(value) for key, value in values.items()}


def describe(
    mlflow: Any,
    run_id: str,
    experiment: Experiment,
    tags: Mapping[str, str],
    data: LoggedData,
    context: str,
    machine: Machine | None = None,
) -> None:
    """Everything about a run that is known before it begins."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

    params = parameters(experiment)
    if machine:
        params |= {"threads": str(machine.threads), "device": machine.device}
    known = {
        "about": experiment.about,
        "configuration": experiment.digest,
        "model": experiment.model_digest,
        "data_hash": data.digest,
        **({"synthetic": data.synthetic} if data.synthetic else {}),
        "version.python": platform.python_version(),
        **{f"version.{library}": version(library) for library in LIBRARIES},
        **tags,
    }
    mlflow.log_batch(
        run_id,
        params=[Param(key, value) for key, value in params.items()],
        tags=[RunTag(key, value) for key, value in known.items()],
    )
    columns = [{"name": name, "type": kind, "required": True} for name, kind in COLUMNS.items()]
    profile = {key: getattr(data, key) for key in ("ratings", "users", "items", "from_us", "to_us")}
    source, schema = {"tags": {"understudy.data": data.name}}, {"mlflow_colspec": columns}
    texts = [json.dumps(each) for each in (source, schema, profile)]
    dataset = Dataset(data.name, data.digest, "code", *texts)
    mlflow.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])
