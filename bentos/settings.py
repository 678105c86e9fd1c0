"""The settings of one serving process, and of the registry's client. The only reader of the environment in this room.

Next module: `bentos.service`, which takes them.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bentos.ranking_settings import RankingSettings, ranking_of, variables_of

METRICS_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's name for where the workers of one server share their values."""
OWN_METRICS_DIRECTORY: Final = "UNDERSTUDY_METRICS_DIR"
"""Ours, from the server to its workers: BentoML gives all servers of one BENTOML_HOME the same one and empties it."""


@dataclass(frozen=True)
class ServingSettings:
    """Settings of a bento's process. `understudy serve` sets them from its flags."""

    redis_url: str = field(repr=False)
    """UNDERSTUDY_REDIS_URL: the feature store; may hold user and password. Default: redis://127.0.0.1:6379/0."""

    feature_deadline_ms: float
    """UNDERSTUDY_FEATURE_DEADLINE_MS: ms that a request waits for features before it falls back. Default: 5."""

    feature_batch_deadline_ms: float
    """UNDERSTUDY_FEATURE_BATCH_DEADLINE_MS: ms that a batch waits for Redis in all before those who were not read yet
    fall back. Default: 100."""

    redis_connections: int
    """UNDERSTUDY_REDIS_CONNECTIONS: most connections for reading features from this process. Default: 4."""

    event_deadline_ms: float
    """UNDERSTUDY_EVENT_DEADLINE_MS: ms that an event or an erasure may take in the store. Default: 100."""

    event_retention_days: float
    """UNDERSTUDY_EVENT_RETENTION_DAYS: days after the last event that a user who is in no facts file is kept.
    Default: 90."""

    registry_url: str
    """UNDERSTUDY_REGISTRY_URL: http://HOST:PORT of the model registry, for `GET /model`. Default: none."""

    workers: int
    """UNDERSTUDY_WORKERS: processes that answer, each with a bundle of its own. Default: 1."""

    most_requests: int
    """UNDERSTUDY_MOST_REQUESTS: requests that one worker answers at once; a further one gets 429. Default: 128."""

    drain_seconds: float
    """UNDERSTUDY_DRAIN_SECONDS: s from "not ready" to "no longer accepting" after SIGTERM. Default: 1."""

    admin_token: str = field(repr=False)
    """UNDERSTUDY_ADMIN_TOKEN: what an erasure must bring as a bearer token. Default: none, and erasure is off."""

    logical_clock: bool
    """UNDERSTUDY_LOGICAL_CLOCK: "on": the header X-Understudy-Event-Time counts as now, for a replay. Default: off."""

    ranking: RankingSettings
    """UNDERSTUDY_RANKING_…: what else than relevance makes a list (`bentos.ranking_settings`). Default: nothing."""

    retrieved_share: float
    """UNDERSTUDY_RETRIEVED_SHARE: share of users, 0 to 1, whose answers also name the candidates before ranking, so
    that the pair log has both lists. Default: 0."""

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> ServingSettings:
        """The settings of this process. `ValueError` names a variable that cannot be read."""
        return ServingSettings(
            redis_url=environment.get("UNDERSTUDY_REDIS_URL", "redis://127.0.0.1:6379/0"),
            feature_deadline_ms=_positive(environment, "UNDERSTUDY_FEATURE_DEADLINE_MS", 5.0),
            feature_batch_deadline_ms=_positive(environment, "UNDERSTUDY_FEATURE_BATCH_DEADLINE_MS", 100.0),
            redis_connections=int(_positive(environment, "UNDERSTUDY_REDIS_CONNECTIONS", 4)),
            event_deadline_ms=_positive(environment, "UNDERSTUDY_EVENT_DEADLINE_MS", 100.0),
            event_retention_days=_positive(environment, "UNDERSTUDY_EVENT_RETENTION_DAYS", 90.0),
            registry_url=environment.get("UNDERSTUDY_REGISTRY_URL", ""),
            workers=int(_positive(environment, "UNDERSTUDY_WORKERS", 1)),
            most_requests=int(_positive(environment, "UNDERSTUDY_MOST_REQUESTS", 128)),
            drain_seconds=_positive(environment, "UNDERSTUDY_DRAIN_SECONDS", 1.0),
            admin_token=environment.get("UNDERSTUDY_ADMIN_TOKEN", ""),
            logical_clock=_switch(environment, "UNDERSTUDY_LOGICAL_CLOCK"),
            ranking=ranking_of(environment),
            retrieved_share=_share(environment, "UNDERSTUDY_RETRIEVED_SHARE"),
        )


@dataclass(frozen=True)
class RegistrySettings:
    """Settings of the registry's client. The names of the credentials are MLflow's own, so one set serves all tools."""

    deadline_s: float
    """UNDERSTUDY_REGISTRY_DEADLINE_S: seconds that one call to the registry may take. Default: 10."""

    token: str = field(repr=False)
    """MLFLOW_TRACKING_TOKEN: sent as a bearer token when set. Default: none."""

    username: str
    """MLFLOW_TRACKING_USERNAME: for basic authentication, with the password, when there is no token. Default: none."""

    password: str = field(repr=False)
    """MLFLOW_TRACKING_PASSWORD. Default: none."""

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> RegistrySettings:
        """The settings of this process. `ValueError` names a variable that cannot be read."""
        return RegistrySettings(
            deadline_s=_positive(environment, "UNDERSTUDY_REGISTRY_DEADLINE_S", 10.0),
            token=environment.get("MLFLOW_TRACKING_TOKEN", ""),
            username=environment.get("MLFLOW_TRACKING_USERNAME", ""),
            password=environment.get("MLFLOW_TRACKING_PASSWORD", ""),
        )


def _positive(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a number above 0, not {text!r}")
    return value


def _share(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name, "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, not {text!r}")
    return value


def _switch(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "off")
    if text not in ("on", "off"):
        raise ValueError(f"{name} must be on or off, not {text!r}")
    return text == "on"


def metrics_directory() -> Path | None:
    """Where this process's metrics are shared with other workers; None when it is alone."""
    found = os.environ.get(METRICS_DIRECTORY)
    return Path(found) if found else None


def share_metrics(directory: Path) -> None:
    """The server says where its workers, started later, share their metrics."""
    os.environ[OWN_METRICS_DIRECTORY] = str(directory)


def use_shared_metrics() -> None:
    """A worker uses the directory that its server shares; called before prometheus_client makes its first value."""
    if OWN_METRICS_DIRECTORY in os.environ:
        os.environ[METRICS_DIRECTORY] = os.environ[OWN_METRICS_DIRECTORY]


def serving_environment(
    redis_url: str,
    feature_deadline_ms: float | None = None,
    workers: int | None = None,
    ranking: RankingSettings | None = None,
    logical_clock: bool = False,
) -> dict[str, str]:
    """The environment of a server process with these flags; one thread for numerical libraries.

    A variable of the ranking that is set already wins over `ranking`, which comes from a file.
    """
    flags = {"UNDERSTUDY_FEATURE_DEADLINE_MS": feature_deadline_ms, "UNDERSTUDY_WORKERS": workers}
    return (
        (variables_of(ranking) if ranking else {})
        | os.environ
        | ({"UNDERSTUDY_LOGICAL_CLOCK": "on"} if logical_clock else {})
        | {name: f"{value:g}" for name, value in flags.items() if value is not None}
        | {
            "UNDERSTUDY_REDIS_URL": redis_url,
            "BENTOML_DO_NOT_TRACK": "True",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
    )


def building_environment() -> dict[str, str]:
    """The environment of `bentoml build`, which imports the service: none of our settings may get into the bento."""
    return {name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")} | {
        "BENTOML_DO_NOT_TRACK": "True"
    }


def container_environment() -> dict[str, str]:
    """The environment of the docker command: the classic builder, which every Docker has."""
    return os.environ | {"DOCKER_BUILDKIT": "0", "BENTOML_DO_NOT_TRACK": "True"}


def search_path() -> str:
    """PATH, for finding a Redis server."""
    return os.environ.get("PATH", "")


def redis_passwords(environment: Mapping[str, str] = os.environ) -> tuple[dict[str, str], list[str]]:
    """The password of each user of the feature store, and whose was not in the environment and is made up.

    UNDERSTUDY_REDIS_READER_PASSWORD: of the user that may only read. UNDERSTUDY_REDIS_WRITER_PASSWORD: of the other.
    """
    variables = {
        "understudy-reader": "UNDERSTUDY_REDIS_READER_PASSWORD",
        "understudy-writer": "UNDERSTUDY_REDIS_WRITER_PASSWORD",
    }
    given = {name: environment.get(variable, "") for name, variable in variables.items()}
    made_up = [name for name, password in given.items() if not password]
    return {name: password or secrets.token_urlsafe(24) for name, password in given.items()}, made_up
