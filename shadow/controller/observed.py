"""What is seen of one resource's world, and what is to be done about it: types alone.

Next module: `shadow.controller.reconcile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shadow.control_contract import Report
from shadow.controller.conflicts import Kept
from shadow.controller.objects import Ref
from shadow.controller.resource import Status
from shadow.controller.wire import Manifest
from shadow.router.config import RouterConfig


@dataclass
class Heard:
    """One router, as it was heard last."""

    incarnation: str
    at: float
    """Monotonic."""
    accepted: int = 0
    """The last generation that it put in force."""
    refused: int = 0
    """The last generation that it refused."""
    error: str = ""
    suspended: tuple[str, ...] = ()
    """Why it copies nothing all the same: `aborted`, `lease_expired`."""
    report: Report | None = None
    """What it told of itself last; None of a router that is older."""


@dataclass(frozen=True)
class Observed:
    """The world of one resource."""

    children: tuple[Manifest, ...] = ()
    """All objects with its labels, as the API server has them."""
    routers: Mapping[str, Heard] = field(default_factory=dict)
    kept: tuple[Kept, ...] = ()
    """Fields that the last applies had to leave to others."""
    trouble: str = ""
    """What the API server refused, in its words."""


@dataclass(frozen=True)
class Note:
    """An Event for people."""

    type: Literal["Normal", "Warning"]
    reason: str
    """One word for programs."""
    text: str
    """A sentence."""


@dataclass(frozen=True)
class Outcome:
    """What is to be done, in this order: status, configuration, apply, delete, events, release."""

    status: Status
    config: RouterConfig
    """What the routers should have, by the generation in `status.routers`."""
    apply: tuple[Manifest, ...] = ()
    """All children as they should be; what is so already is not sent again."""
    delete: tuple[Ref, ...] = ()
    notes: tuple[Note, ...] = ()
    release: bool = False
    """The resource is being deleted, and nothing is left to do."""
