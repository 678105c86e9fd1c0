"""Objects of the cluster as they are named, and what of them is the operator's: pure.

Next module: `shadow.controller.conflicts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shadow.controller.names import MANAGER
from shadow.controller.wire import Manifest


@dataclass(frozen=True)
class Ref:
    """Which object."""

    kind: str
    name: str
    uid: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return self.kind, self.name


def ref_of(manifest: Manifest) -> Ref:
    """Of an object."""
    metadata = manifest["metadata"]
    return Ref(manifest["kind"], metadata["name"], metadata.get("uid", ""))


def own_fields(found: Manifest) -> list[dict[str, Any]]:
    """The fields that the operator owns of an object; empty when it never applied it."""
    return [
        each.get("fieldsV1", {})
        for each in found["metadata"].get("managedFields") or []
        if each.get("manager") == MANAGER and each.get("operation") == "Apply"
    ]
