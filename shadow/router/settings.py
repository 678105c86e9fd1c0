"""The router's one secret. The only reader of the environment in this room. Next module: `shadow.router.config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

SHORTEST_KEY: Final = 16
LONGEST_KEY: Final = 64
"""BLAKE2b's limit; a longer secret is hashed to this length."""


@dataclass(frozen=True)
class RouterSettings:
    """Settings that must not stand in a configuration file."""

    unit_key: bytes = field(repr=False)
    """UNDERSTUDY_UNIT_KEY: the secret that turns user ids into units; at least 16 bytes, no default.

    The same on every replica of one experiment, or a user would be sampled differently at each; a new one for a new
    experiment, so that units cannot be followed from one to the next.
    """

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> RouterSettings:
        """The settings of this process. `ValueError` says what to set."""
        key = environment.get("UNDERSTUDY_UNIT_KEY", "").encode()
        if len(key) < SHORTEST_KEY:
            raise ValueError(
                f"UNDERSTUDY_UNIT_KEY must hold a secret of at least {SHORTEST_KEY} bytes (it has {len(key)}). "
                "Make one: export UNDERSTUDY_UNIT_KEY=$(openssl rand -hex 32)"
            )
        return RouterSettings(key if len(key) <= LONGEST_KEY else blake2b(key).digest())
