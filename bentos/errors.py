"""What can go wrong in this room, as a tree:

BentosError
├── BundleError       a bundle on disk that must not be served: names the file and the reason
├── PackagingError    a bento that cannot be built, or that disagrees with its bundle
└── FeatureStoreError a command that needs Redis could not reach or use it (requests never raise it: they fall back)
"""

from __future__ import annotations

from pathlib import Path


class BentosError(Exception):
    """Base of the room's errors; the text names the thing and the remedy."""


class BundleError(BentosError):
    """`file` of a bundle is missing, altered or does not fit; `reason` says how."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}. Export the bundle again (understudy train … --bundle DIR).")
        self.file = file
        self.reason = reason


class PackagingError(BentosError):
    """A bento could not be built, found or trusted."""


class FeatureStoreError(BentosError):
    """Redis could not be reached or refused a command that needs it."""
