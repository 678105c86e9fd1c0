"""Who was heard: the routers of one resource, what each said last, and whether that was new.

Next module: `shadow.controller.config_server`, which hears them.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from shadow.control_contract import Acknowledgement, Report
from shadow.controller.observed import Heard

logger = logging.getLogger(__name__)

FORGET_SECONDS: Final = 90.0
"""A router that was not heard for so long is no router any more: three of its longest waits."""
LEASE_EXPIRED: Final = "lease_expired"
COUNTS, MORE = "counts", "more"
LONGEST_INCARNATION: Final = 64
LONGEST_NAME: Final = 253
LONGEST_TEXT: Final = 1_024
"""Of what a router refused, kept."""
MOST_REASONS: Final = 4
"""Why a router copies nothing, kept."""


class Roster:
    """The routers of one resource by name. Times are a monotonic clock's, in seconds."""

    def __init__(self) -> None:
        self._routers: dict[str, Heard] = {}

    def __len__(self) -> int:
        return len(self._routers)

    def alive(self, now: float) -> dict[str, Heard]:
        """Those that were heard lately."""
        return {name: router for name, router in self._routers.items() if now - router.at < FORGET_SECONDS}

    def heard(self, name: str, incarnation: str, now: float, most: int) -> Heard | None:
        """The router of that name, heard now; None of one that is new when there are `most` already."""
        name, incarnation = name[:LONGEST_NAME], incarnation[:LONGEST_INCARNATION]
        router = self._routers.get(name)
        if router is None or router.incarnation != incarnation:
            self._routers = self.alive(now)
            if name not in self._routers and len(self) >= most:
                return None
            router = self._routers[name] = Heard(incarnation, now)
        router.at = now
        return router


def acknowledged(router: Heard, told: Acknowledgement) -> None:
    """Take what a router says of the generation that it was offered."""
    router.suspended = told.suspended[:MOST_REASONS]
    if told.accepted:
        router.accepted, router.error = told.generation, ""
    else:
        router.refused, router.error = told.generation, told.error[:LONGEST_TEXT]
        logger.error("router %s refused generation %d: %s", told.router, told.generation, router.error)


def inferred(router: Heard, seen: int, newest: int) -> bool:
    """A router that asks with the newest generation has it, though it told that to an operator before this one.

    One that refused it gets no lease, and says so once that has run out. Whether something new was inferred.
    """
    if seen != newest or seen in (router.accepted, router.refused) or LEASE_EXPIRED in router.suspended:
        return False
    router.accepted = seen
    return True


def reported(router: Heard, text: str) -> str:
    """Take a router's report; what is new in it: nothing, only counts, or more."""
    before = router.report
    try:
        report = msgspec.json.decode(text, type=Report) if text else None
    except msgspec.DecodeError as error:
        logger.warning("a router's report cannot be read: %s", error)
        report = None
    router.report = report or before
    if report is None or report == before:
        return ""
    return COUNTS if before is not None and _without_counts(report) == _without_counts(before) else MORE


def _without_counts(report: Report) -> set[tuple[str, str, str]]:
    return {(arm.arm, arm.version, arm.features) for arm in report.arms if arm.features}
