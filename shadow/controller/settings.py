"""The operator's settings; the chart sets them. The only reader of the environment in this room.

Next module: `shadow.controller.kinds`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shadow.controller.resource import Platform
from shadow.tokens import token

PREFIX: Final = "UNDERSTUDY_OPERATOR_"
PULL_POLICIES: Final = ("IfNotPresent", "Always", "Never")


@dataclass(frozen=True)
class OperatorSettings:
    """Settings of one operator process."""

    namespace: str
    """UNDERSTUDY_OPERATOR_NAMESPACE: the one it works in; no default."""
    platform: Platform
    """UNDERSTUDY_OPERATOR_ROUTER_IMAGE (no default), _CONTROL_URL (no default), _PULL_POLICY, _PRIORITY_CLASS,
    _SHADOW_PRIORITY_CLASS: what is the same for all resources."""
    control: tuple[str, int]
    """UNDERSTUDY_OPERATOR_CONTROL: HOST:PORT where routers ask. Default: 0.0.0.0:8710."""
    observe: tuple[str, int]
    """UNDERSTUDY_OPERATOR_OBSERVE: HOST:PORT of /metrics, /livez and /readyz. Default: 0.0.0.0:8711."""
    kubeconfig: Path | None
    """KUBECONFIG: how to reach the cluster from outside of it. Default: the pod's own account."""
    deadline_seconds: float
    """UNDERSTUDY_OPERATOR_DEADLINE_SECONDS: of one call to the API server. Default: 10."""
    identity: str
    """POD_NAME: who holds the lease. Default: the host's name."""
    release: str = ""
    """UNDERSTUDY_OPERATOR_RELEASE: of Helm, whose label the Lease gets. Default: none."""
    deployment: str = ""
    """UNDERSTUDY_OPERATOR_DEPLOYMENT: the operator's own, with which the Lease goes. Default: it stays."""
    control_token: bytes = field(default=b"", repr=False)
    """UNDERSTUDY_CONTROL_TOKEN, or its _FILE: what routers must show. Default: none is asked for."""

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> OperatorSettings:
        """The settings of this process. `ValueError` names the variable and the remedy."""
        kubeconfig = environment.get("KUBECONFIG", "")
        policy: Any = environment.get(f"{PREFIX}PULL_POLICY", PULL_POLICIES[0])
        if policy not in PULL_POLICIES:
            raise ValueError(f"{PREFIX}PULL_POLICY is {policy!r}: give one of {', '.join(PULL_POLICIES)}")
        return OperatorSettings(
            namespace=_needed(environment, "NAMESPACE", "the namespace it works in"),
            platform=Platform(
                router_image=_needed(environment, "ROUTER_IMAGE", "the router's image by an exact tag"),
                control_url=_needed(environment, "CONTROL_URL", "http://HOST:PORT under which routers reach it"),
                pull_policy=policy,
                priority_class=environment.get(f"{PREFIX}PRIORITY_CLASS", ""),
                shadow_priority_class=environment.get(f"{PREFIX}SHADOW_PRIORITY_CLASS", ""),
            ),
            control=_address(environment, "CONTROL", "0.0.0.0:8710"),
            observe=_address(environment, "OBSERVE", "0.0.0.0:8711"),
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            deadline_seconds=_seconds(environment, "DEADLINE_SECONDS", 10.0),
            identity=environment.get("POD_NAME") or socket.gethostname(),
            release=environment.get(f"{PREFIX}RELEASE", ""),
            deployment=environment.get(f"{PREFIX}DEPLOYMENT", ""),
            control_token=token("UNDERSTUDY_CONTROL_TOKEN", environment),
        )


def _needed(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(PREFIX + name, "")
    if not value:
        raise ValueError(f"{PREFIX}{name} is not set: give {meaning}")
    return value


def _address(environment: Mapping[str, str], name: str, default: str) -> tuple[str, int]:
    text = environment.get(PREFIX + name, default)
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{PREFIX}{name} is {text!r}: give HOST:PORT")
    return host.strip("[]"), int(port)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(PREFIX + name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 300:
        raise ValueError(f"{PREFIX}{name} is {text!r}: give seconds above 0, at most 300")
    return value
