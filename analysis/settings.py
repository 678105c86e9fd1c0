"""What this room reads from the environment: the key of the units, where users' ids are to be hashed with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from shadow.tokens import SHORTEST as SHORTEST_KEY
from shadow.units import key_of


@dataclass(frozen=True)
class AnalysisSettings:
    """Secrets that must not stand on a command line."""

    unit_key: bytes = field(repr=False)
    """UNDERSTUDY_UNIT_KEY: the router's, which turns user ids into the units of the log."""

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> AnalysisSettings:
        """The settings of this process. `ValueError` says what to set."""
        key = environment.get("UNDERSTUDY_UNIT_KEY", "").encode()
        if len(key) < SHORTEST_KEY:
            raise ValueError(
                "--raw-ids needs UNDERSTUDY_UNIT_KEY, the key that the routers of this log had "
                f"(at least {SHORTEST_KEY} bytes; it has {len(key)})"
            )
        return AnalysisSettings(key_of(key))
