"""The router's secrets. The only reader of the environment in this room. Next module: `shadow.router.config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from shadow import tokens
from shadow.tokens import SHORTEST as SHORTEST_KEY
from shadow.units import key_of


@dataclass(frozen=True)
class RouterSettings:
    """Settings that must not stand in a configuration file."""

    unit_key: bytes = field(repr=False)
    """UNDERSTUDY_UNIT_KEY: the secret that turns user ids into units; at least 16 bytes, no default.

    The same on every replica of one experiment, or a user would be sampled differently at each; a new one for a new
    experiment, so that units cannot be followed from one to the next.
    """

    admin_token: bytes = field(default=b"", repr=False)
    """UNDERSTUDY_ADMIN_TOKEN, or what the file UNDERSTUDY_ADMIN_TOKEN_FILE holds: who has it may change the
    configuration at the admin port. Without one nobody may."""
    control_token: bytes = field(default=b"", repr=False)
    """UNDERSTUDY_CONTROL_TOKEN, or its _FILE: what the router shows to its configuration server."""

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> RouterSettings:
        """The settings of this process. `ValueError` says what to set."""
        key = environment.get("UNDERSTUDY_UNIT_KEY", "").encode()
        if len(key) < SHORTEST_KEY:
            raise ValueError(
                f"UNDERSTUDY_UNIT_KEY must hold a secret of at least {SHORTEST_KEY} bytes (it has {len(key)}). "
                "Make one: export UNDERSTUDY_UNIT_KEY=$(openssl rand -hex 32)"
            )
        return RouterSettings(
            unit_key=key_of(key),
            admin_token=token("UNDERSTUDY_ADMIN_TOKEN", environment),
            control_token=token("UNDERSTUDY_CONTROL_TOKEN", environment),
        )


def token(name: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """The token in the variable `name`, or in the file that `name`_FILE names (`shadow.tokens`)."""
    return tokens.token(name, environment)
