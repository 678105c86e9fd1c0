"""The only place that knows an answer's shape: bytes of a body in, a ranked list or a label, and its source, out.

A body that does not fit is a typed failure with its reason, never an exception: what a failure means is decided by
`analysis.reading` and the plan's missing rule. Next module: `analysis.reading`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from shadow.contracts import Answer


@dataclass(frozen=True)
class RankedList:
    """Item ids from best to worst, and which rung of the service's ladder gave them ("" when it did not say)."""

    items: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Unreadable:
    """A body that is neither list nor label: `truncated` (the router kept a prefix), `encoding`, or `shape`."""

    reason: str


class _Item(msgspec.Struct, frozen=True):
    item_id: str


class _Body(msgspec.Struct, frozen=True):
    items: list[_Item]
    source: str = ""


class _Labelled(msgspec.Struct, frozen=True):
    label: str | int | bool | None
    source: str = ""


_BODY = msgspec.json.Decoder(_Body)
_LABELLED = msgspec.json.Decoder(_Labelled)
T = TypeVar("T")


def ranked_list(answer: Answer) -> RankedList | Unreadable:
    """Read `{"items": [{"item_id": …}, …], "source": …}`; other members are ignored (DESIGN §4, HTTP API)."""
    body = _decoded(answer, _BODY)
    if isinstance(body, Unreadable):
        return body
    # A list comprehension within: half the time of a generator.
    return RankedList(tuple([item.item_id for item in body.items]), body.source)


def label(answer: Answer) -> RankedList | Unreadable:
    """Read `{"label": …, "source": …}` of a classifier: a list of the one label, by its JSON text; null is none."""
    body = _decoded(answer, _LABELLED)
    if isinstance(body, Unreadable):
        return body
    found = body.label
    if found is None:
        return RankedList((), body.source)
    return RankedList((found if isinstance(found, str) else msgspec.json.encode(found).decode(),), body.source)


def _decoded(answer: Answer, decoder: msgspec.json.Decoder[T]) -> T | Unreadable:
    """The body in its shape, or why it has another."""
    if answer.truncated:
        return Unreadable("truncated")
    try:
        # Text is decoded as it is: making bytes of it first would cost as much again.
        return decoder.decode(answer.body if answer.body_encoding != "base64" else answer.body_bytes())
    except msgspec.DecodeError:
        return Unreadable("shape")
    except UnicodeEncodeError:
        return Unreadable("encoding")
    except UnicodeError:
        return Unreadable("shape")
    except ValueError:
        return Unreadable("encoding")


Adapter = Callable[[Answer], RankedList | Unreadable]
ADAPTERS: Final[dict[str, Adapter]] = {"ranked_list": ranked_list, "label": label}
"""What a plan's `adapter` may name."""
