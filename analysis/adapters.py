"""The only place that knows an answer's shape: bytes of a body in, a ranked list and its source out.

A body that does not fit is a typed failure with its reason, never an exception: what a failure means is decided by
`analysis.reading` and the plan's missing rule. Next module: `analysis.reading`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from shadow.contracts import Answer


@dataclass(frozen=True)
class RankedList:
    """Item ids from best to worst, and which rung of the service's ladder gave them ("" when it did not say)."""

    items: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Unreadable:
    """A body that is no ranked list: `truncated` (the router kept a prefix), `encoding`, or `shape`."""

    reason: str


class _Item(msgspec.Struct, frozen=True):
    item_id: str


class _Body(msgspec.Struct, frozen=True):
    items: list[_Item]
    source: str = ""


_BODY = msgspec.json.Decoder(_Body)


def ranked_list(answer: Answer) -> RankedList | Unreadable:
    """Read `{"items": [{"item_id": …}, …], "source": …}`; other members are ignored (DESIGN §4, HTTP API)."""
    if answer.truncated:
        return Unreadable("truncated")
    try:
        # Text is decoded as it is: making bytes of it first would cost as much again.
        raw = answer.body if answer.body_encoding != "base64" else answer.body_bytes()
        body = _BODY.decode(raw)
    except msgspec.DecodeError:
        return Unreadable("shape")
    except UnicodeEncodeError:
        return Unreadable("encoding")
    except UnicodeError:
        return Unreadable("shape")
    except ValueError:
        return Unreadable("encoding")
    # A list comprehension within: half the time of a generator.
    return RankedList(tuple([item.item_id for item in body.items]), body.source)


Adapter = Callable[[Answer], RankedList | Unreadable]
ADAPTERS: Final[dict[str, Adapter]] = {"ranked_list": ranked_list}
"""What a plan's `adapter` may name."""
