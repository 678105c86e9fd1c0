"""The settings of one serving process. The only reader of the environment in this room.

Next module: `bentos.service`, which takes them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ServingSettings:
    """Settings of a bento's process. `understudy serve` sets them from its flags."""

    redis_url: str
    """UNDERSTUDY_REDIS_URL: the feature store. Default: redis://127.0.0.1:6379/0."""

    feature_deadline_ms: float
    """UNDERSTUDY_FEATURE_DEADLINE_MS: ms that a request waits for features before it falls back. Default: 5."""

    redis_connections: int
    """UNDERSTUDY_REDIS_CONNECTIONS: most connections to the feature store from this process. Default: 32."""

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> ServingSettings:
        """The settings of this process. `ValueError` names a variable that cannot be read."""
        return ServingSettings(
            redis_url=environment.get("UNDERSTUDY_REDIS_URL", "redis://127.0.0.1:6379/0"),
            feature_deadline_ms=_positive(environment, "UNDERSTUDY_FEATURE_DEADLINE_MS", 5.0),
            redis_connections=int(_positive(environment, "UNDERSTUDY_REDIS_CONNECTIONS", 32)),
        )


def _positive(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise ValueError(f"{name} must be a number above 0, not {text!r}")
    return value


def serving_environment(redis_url: str, feature_deadline_ms: float | None) -> dict[str, str]:
    """The environment of a server process with these flags; one thread for numerical libraries."""
    deadline = {} if feature_deadline_ms is None else {"UNDERSTUDY_FEATURE_DEADLINE_MS": f"{feature_deadline_ms:g}"}
    return (
        os.environ
        | deadline
        | {
            "UNDERSTUDY_REDIS_URL": redis_url,
            "BENTOML_DO_NOT_TRACK": "True",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
    )


def search_path() -> str:
    """PATH, for finding a Redis server."""
    return os.environ.get("PATH", "")
