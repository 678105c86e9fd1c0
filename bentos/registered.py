"""What the registry answers, typed: versions with their tags, runs with what they logged. Times are milliseconds.

Fields that are not needed here are skipped, so a newer MLflow that tells more is read as well. Next module:
`bentos.registry`, which asks for them.
"""

from __future__ import annotations

import msgspec


class Tag(msgspec.Struct, frozen=True):
    """A tag of a version, or a tag or parameter of a run."""

    key: str
    value: str = ""


class ModelVersion(msgspec.Struct, frozen=True, rename={"created_ms": "creation_timestamp"}):
    """One registered version. `version` is MLflow's number as text; `created_ms` is by the server's clock."""

    name: str
    version: str
    created_ms: int = 0
    source: str = ""
    run_id: str = ""
    status: str = "READY"
    tags: list[Tag] = []

    @property
    def number(self) -> int:
        """MLflow's number of this version."""
        return int(self.version)

    def tag(self, key: str) -> str:
        """The value of a tag; "" when it is not set."""
        return next((each.value for each in self.tags if each.key == key), "")


class Metric(msgspec.Struct, frozen=True):
    """The last value of a metric."""

    key: str
    value: float
    step: int = 0


class Dataset(msgspec.Struct, frozen=True):
    """A data set that a run has seen."""

    name: str
    digest: str
    source: str = ""
    profile: str = ""


class DatasetInput(msgspec.Struct, frozen=True):
    """A data set with how it was used."""

    dataset: Dataset
    tags: list[Tag] = []


class RunInfo(msgspec.Struct, frozen=True):
    """A run's own facts; times in milliseconds since the epoch, 0 when unknown."""

    run_id: str
    run_name: str = ""
    status: str = ""
    start_time: int = 0
    end_time: int = 0


class RunData(msgspec.Struct, frozen=True):
    """What a run logged."""

    metrics: list[Metric] = []
    params: list[Tag] = []
    tags: list[Tag] = []


class RunInputs(msgspec.Struct, frozen=True):
    """What a run was given."""

    dataset_inputs: list[DatasetInput] = []


class Run(msgspec.Struct, frozen=True):
    """One run."""

    info: RunInfo
    data: RunData = RunData()
    inputs: RunInputs = RunInputs()

    def tag(self, key: str) -> str:
        """The value of a tag; "" when it is not set."""
        return next((each.value for each in self.data.tags if each.key == key), "")

    def metric(self, key: str) -> float | None:
        """The last value of a metric; None when it was not logged."""
        return next((each.value for each in self.data.metrics if each.key == key), None)


class Alias(msgspec.Struct, frozen=True):
    """An alias and the number it points at."""

    alias: str
    version: str


class Model(msgspec.Struct, frozen=True):
    """A registered model."""

    aliases: list[Alias] = []


class OneModel(msgspec.Struct, frozen=True):
    """Envelope of a registered model."""

    registered_model: Model


class OneVersion(msgspec.Struct, frozen=True):
    """Envelope of a version."""

    model_version: ModelVersion


class Versions(msgspec.Struct, frozen=True):
    """A page of versions; no token on the last."""

    model_versions: list[ModelVersion] = []
    next_page_token: str = ""


class OneRun(msgspec.Struct, frozen=True):
    """Envelope of a run."""

    run: Run


class Runs(msgspec.Struct, frozen=True):
    """A page of runs."""

    runs: list[Run] = []


class Experiment(msgspec.Struct, frozen=True):
    """An MLflow experiment."""

    experiment_id: str


class OneExperiment(msgspec.Struct, frozen=True):
    """Envelope of an experiment."""

    experiment: Experiment


class Nothing(msgspec.Struct, frozen=True):
    """The answer of what only does."""


class Refusal(msgspec.Struct, frozen=True):
    """Why not, in MLflow's words."""

    error_code: str = ""
    message: str = ""
