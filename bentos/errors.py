"""What can go wrong in this room, as a tree:

BentosError
├── BundleError       a bundle on disk that must not be served: names the file and the reason
├── SmokeError        a service that answers, but not what its bundle says: it never becomes ready
├── PackagingError    a bento that cannot be built, or that disagrees with its bundle
├── FeatureStoreError a command that needs Redis could not reach or use it (reads never raise it: they fall back)
│   └── StoreWriteError an event or an erasure that Redis did not take in time: names the fault
├── RegistryError     the model registry cannot be reached, refuses, or answers what cannot be used: names its address
└── PromotionLostError  another promotion of the same alias was first: says whose
"""

from __future__ import annotations

from pathlib import Path
from typing import Final


class BentosError(Exception):
    """Base of the room's errors; the text names the thing and the remedy."""


class BundleError(BentosError):
    """`file` of a bundle is missing, altered or does not fit; `reason` says how."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}. Export the bundle again (understudy train … --bundle DIR).")
        self.file = file
        self.reason = reason


class SmokeError(BentosError):
    """A service answers, but not what its bundle says."""


class PackagingError(BentosError):
    """A bento could not be built, found or trusted."""


class FeatureStoreError(BentosError):
    """Redis could not be reached or refused a command that needs it."""


class StoreWriteError(FeatureStoreError):
    """Redis did not take a write; `fault` is one of `WRITE_FAULTS`, and nothing is known to be written.

    After `timeout` it may have been: the same event id may be sent again.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(f"the feature store did not take the write: {WRITE_FAULTS[fault]}")
        self.fault = fault


WRITE_FAULTS: Final = {
    "timeout": "no answer within the deadline; send it again with the same id",
    "unreachable": "no connection; try again later",
    "saturated": "more writes are waiting than may wait; try again later",
    "full": "its memory is full; make room (understudy features drop VERSION) or raise maxmemory",
    "read_only": "this process may only read; give it the URL of a user that may write",
    "corrupt": "what it holds of this user cannot be read; load the facts again or erase the user",
    "refused": "Redis answered with an error; see the log of the process",
}
"""Why a write was not taken, and what to do. The first four may pass by themselves."""


class RegistryError(BentosError):
    """The registry at `address` did not do what it was asked; `status` and `code` are its own, 0 and "" without any."""

    def __init__(self, address: str, problem: str, remedy: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(f"registry {address}: {problem}. {remedy}".rstrip())
        self.address = address
        self.problem = problem
        self.status = status
        self.code = code

    @property
    def missing(self) -> bool:
        """What was asked for is not there."""
        return self.code == "RESOURCE_DOES_NOT_EXIST"

    @property
    def passing(self) -> bool:
        """The same request may do better in a moment: the server was busy, or writers were in each other's way."""
        return self.status == 429 or self.status >= 500


class PromotionLostError(BentosError):
    """Somebody else moved the alias first; nothing was changed by the one who is told this."""
