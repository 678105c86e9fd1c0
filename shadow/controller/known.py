"""What the watches and lists have told: the newest state of each object. Next module: `shadow.controller.work`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from shadow.controller.names import INSTANCE_LABEL, MANAGED_LABEL, MANAGER
from shadow.controller.objects import ref_of
from shadow.controller.resource import KIND
from shadow.controller.wire import Manifest

Key = tuple[str, str]
Name = TypeVar("Name", str, Key)


class Known:
    """The resources and their children in one namespace.

    A watch that was interrupted tells nothing of what was deleted meanwhile: `replace` by a list now and then.
    """

    def __init__(self) -> None:
        self.resources: dict[str, Manifest] = {}
        self._children: dict[Key, Manifest] = {}

    def children(self, name: str) -> tuple[Manifest, ...]:
        """Of the resource called so."""
        return tuple(child for child in self._children.values() if instance_of(child) == name)

    def child(self, key: Key) -> Manifest | None:
        """One child."""
        return self._children.get(key)

    def saw(self, found: Manifest, gone: bool = False) -> str:
        """An object as it was seen; the name of the resource it belongs to, empty when it is nobody's."""
        if found["kind"] == KIND:
            name: str = found["metadata"]["name"]
            _note(self.resources, name, found, gone)
            return name
        if not is_child(found):
            # Its labels may have been taken away.
            known = self._children.pop(ref_of(found).key, None)
            return instance_of(known) if known is not None else ""
        _note(self._children, ref_of(found).key, found, gone)
        return instance_of(found)

    def replace(self, resources: Iterable[Manifest], children: Iterable[Manifest]) -> None:
        """All there is, by a list."""
        self.resources = _merged(self.resources, {each["metadata"]["name"]: each for each in resources})
        self._children = _merged(self._children, {ref_of(each).key: each for each in children})


def is_child(found: Manifest) -> bool:
    """Whether it has the labels of a child."""
    labels = found["metadata"].get("labels") or {}
    return labels.get(MANAGED_LABEL) == MANAGER and bool(labels.get(INSTANCE_LABEL))


def instance_of(child: Manifest) -> str:
    """The name of the resource it belongs to."""
    return str((child["metadata"].get("labels") or {}).get(INSTANCE_LABEL, ""))


def version_of(found: Manifest) -> int:
    """Orders the states of one object."""
    # A number, and comparable, by now also officially (KEP-5504).
    return int(found["metadata"].get("resourceVersion") or 0)


def _note(known: dict[Name, Manifest], name: Name, found: Manifest, gone: bool) -> None:
    before = known.get(name)
    if before is not None and version_of(before) > version_of(found):
        return
    if gone:
        known.pop(name, None)
    else:
        known[name] = found


def _merged(known: dict[Name, Manifest], listed: dict[Name, Manifest]) -> dict[Name, Manifest]:
    """What is listed, each as it was seen last. What came after the list is told by the watch once more."""
    return {name: max(each, known.get(name, each), key=version_of) for name, each in listed.items()}
