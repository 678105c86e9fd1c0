"""Whether a service answers as a pair log says that it did: byte for byte, and where not.

Meant for a bento of the same bundle, facts and clock: every difference is then a change that nobody wanted. A request
is sent with its id of then, so that even the id in the body is the same. Next module: `shadow.replay.cli`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shadow.replay.logged_answers import LoggedAnswers
from shadow.replay.pair_log import FromLog
from shadow.replay.requests import Recorded

EXAMPLES: Final = 10
"""So many differences are told one by one."""
PLACES: Final = 1_000
"""So many places are told apart: what a service says decides how many there are."""
OTHER_PLACES: Final = "elsewhere"
SAME: Final = "same"
DIFFERENT: Final = "different"
NO_ANSWER: Final = "the log has no whole answer"
SHORTEST: Final = 40
"""Characters of a value that an example shows."""


class Found(msgspec.Struct):
    """What a comparison has found so far: it goes on over an interruption."""

    counts: dict[str, int] = {}
    places: dict[str, int] = {}
    """Where bodies differ: the first place in each, as a path in the JSON."""
    examples: list[str] = []

    def count(self, result: str) -> None:
        """One more answer that is the same, different, or not compared."""
        self.counts[result] = self.counts.get(result, 0) + 1

    def count_place(self, place: str) -> None:
        """One more that differs there; of places beyond the bound only that they are others."""
        if place not in self.places and len(self.places) >= PLACES:
            place = OTHER_PLACES
        self.places[place] = self.places.get(place, 0) + 1


class Comparison:
    """Answers of a service against those in a log, on `side`: "primary" or an arm."""

    def __init__(self, logged: LoggedAnswers, side: str) -> None:
        self.side = side
        self.found = Found()
        self._logged = logged

    def look(self, request: Recorded, status: int, body: bytes) -> None:
        """Compare one answer."""
        logged = self._logged.of(request.number) if isinstance(request, FromLog) else None
        if logged is None or logged.error or logged.truncated:
            self.found.count(NO_ANSWER)
            return
        place, told = difference(logged.status, logged.body_bytes(), status, body)
        self.found.count(DIFFERENT if place else SAME)
        if place:
            self.found.count_place(place)
            if len(self.found.examples) < EXAMPLES:
                self.found.examples.append(f"{request.request_id} at {place}: {told}")


def difference(was_status: int, was: bytes, status: int, now: bytes) -> tuple[str, str]:
    """(place, what stood and stands there) of the first difference of two answers; ("", "") for the same bytes."""
    if was_status != status:
        return "status", f"{was_status} was logged, {status} came"
    if was == now:
        return "", ""
    try:
        place, one, other = _first(msgspec.json.decode(was), msgspec.json.decode(now), "$")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        place = ""
    if not place:
        at = next((n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
        return "bytes", f"from byte {at}: {was[at : at + SHORTEST]!r} was logged, {now[at : at + SHORTEST]!r} came"
    return place, f"{_short(one)} was logged, {_short(other)} came"


def _first(one: Any, other: Any, place: str) -> tuple[str, Any, Any]:
    """The first place where two JSON values differ, depth first; "" when they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        # Keys in one of them only come after the common ones.
        for key in [*(key for key in one if key in other), *(one.keys() ^ other.keys())]:
            if (found := _first(one.get(key), other.get(key), f"{place}.{key}"))[0]:
                return found
        return "", None, None
    if isinstance(one, list) and isinstance(other, list):
        for number, (a, b) in enumerate(zip(one, other, strict=False)):
            if (found := _first(a, b, f"{place}[{number}]"))[0]:
                return found
        return ("", None, None) if len(one) == len(other) else (f"{place}.length", len(one), len(other))
    return ("", None, None) if type(one) is type(other) and one == other else (place, one, other)


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHORTEST else text[: SHORTEST - 1] + "…"
