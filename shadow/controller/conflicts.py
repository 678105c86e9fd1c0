"""Fields that somebody else keeps: how the API server tells them, and a manifest without them.

The server knows who owns what, so it is asked (an apply without force), not second-guessed. Next module:
`shadow.controller.cluster`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from shadow.controller.names import HASH_ANNOTATION
from shadow.controller.wire import Manifest

TEMPLATE: Final = ".spec.template"
REPLICAS: Final = ".spec.replicas"
HASH: Final = f".metadata.annotations.{HASH_ANNOTATION}"
_CAUSE: Final = re.compile(r'conflict with "([^"]*)"')
_KEYS: Final = re.compile(r'\[((?:"(?:[^"\\]|\\.)*"|[^\]"])*)\]')
_PAIR: Final = re.compile(r'(\w*)=("(?:[^"\\]|\\.)*"|[^,]*)')


@dataclass(frozen=True)
class Kept:
    """A field of a child that another manager owns, with another value than the one wanted."""

    kind: str
    name: str
    field: str
    """As the API server writes it: `.spec.template.spec.containers[name="bento"].image`."""
    manager: str

    @property
    def expected(self) -> bool:
        """The number of replicas belongs to whoever scales: an autoscaler, or a person by `kubectl scale`."""
        return self.field == REPLICAS

    @property
    def whole(self) -> bool:
        """It keeps the operator's hand off the whole object.

        A pod template put back by a person (`kubectl rollout undo`) must not be mixed with the one that is wanted: the
        mixture has never run. An undo also brings the annotations of then.
        """
        return self.field == HASH or self.field.startswith(f"{TEMPLATE}.")


def told(kind: str, name: str, body: Any) -> tuple[Kept, ...]:
    """What the `Status` of a 409 says about an apply."""
    causes = (body.get("details") or {}).get("causes") or [] if isinstance(body, dict) else []
    found = []
    for cause in causes:
        manager = _CAUSE.search(cause.get("message", ""))
        if cause.get("reason") == "FieldManagerConflict" and manager:
            found.append(Kept(kind, name, cause.get("field", ""), manager[1]))
    return tuple(found)


def without(manifest: Manifest, fields: tuple[str, ...]) -> Manifest:
    """A copy that lacks these fields; `ValueError` for one that it does not have."""
    found = copy.deepcopy(manifest)
    for field in fields:
        if not _remove(found, field):
            raise ValueError(f"{field} is not in the manifest")
    return found


def _remove(value: Any, path: str) -> bool:
    """Take what `path` names out of `value`; whether it was there."""
    for holder, key, rest in _steps(value, path):
        if not rest:
            del holder[key]
            return True
        if _remove(holder[key], rest):
            return True
    return False


def _steps(value: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """(what to look into, by which key, what remains of the path); several, for a key may have dots in it."""
    if path.startswith(".") and isinstance(value, dict):
        for key in sorted(value, key=len, reverse=True):
            rest = path[1 + len(key) :]
            if path[1:].startswith(key) and (not rest or rest[0] in ".["):
                yield value, key, rest
    elif (brackets := _KEYS.match(path)) and isinstance(value, list):
        for position, element in enumerate(value):
            if _is_meant(element, brackets[1], position):
                yield value, position, path[brackets.end() :]


def _is_meant(element: Any, keys: str, position: int) -> bool:
    if keys.isdecimal():
        return position == int(keys)
    pairs = [(name, json.loads(text)) for name, text in _PAIR.findall(keys)]
    if pairs and not pairs[0][0]:
        return bool(element == pairs[0][1])
    # A key that has a default (protocol, say) may be left out of a manifest.
    return isinstance(element, dict) and all(element.get(name, wanted) == wanted for name, wanted in pairs)
