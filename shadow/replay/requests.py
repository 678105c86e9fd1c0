"""What is replayed: requests for lists, events that tell of ratings, and how a file holds them.

A requests file is one JSON object a line, ascending in `event_time_us`; `understudy data requests` writes it from the
ratings of a period. Next module: `shadow.replay.access_log`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes, urlsplit

import msgspec

K_DEFAULT: Final = 10
LIKED: Final = 4.0


class ReplayError(Exception):
    """A source of requests or a target that cannot be used; the text names it and the remedy."""


class Recorded(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request at the logical time `event_time_us` (microseconds since 1970).

    With `target`, a GET of it as it stands; with `item_id`, an event: `user_id` rated that item with `rating` stars;
    else a request for `k` items for `user_id`. `request_id`: sent as X-Request-Id; "": a new one.
    """

    event_time_us: int
    user_id: str = ""
    k: int = K_DEFAULT
    item_id: str = ""
    rating: float = LIKED
    target: str = ""
    request_id: str = ""

    def __post_init__(self) -> None:
        """`ValueError` when it says nothing that can be sent."""
        if not (self.user_id or self.target):
            raise ValueError("user_id is missing (or target, a path to GET)")
        if self.target and (not self.target.startswith("/") or not self.target.isascii() or set(self.target) & _BLANK):
            raise ValueError(f"target {self.target!r} is no path: it begins with / and has no blanks")
        if not self.request_id.isascii() or set(self.request_id) & _BLANK:
            raise ValueError(f"request_id {self.request_id!r} cannot be a header's value")

    @property
    def is_event(self) -> bool:
        """Whether it tells the service of a rating, and asks for nothing."""
        return bool(self.item_id)

    def parts(self) -> tuple[str, str, bytes]:
        """(method, target, body) as they are sent."""
        if self.is_event:
            return "POST", "/events", msgspec.json.encode(self._event())
        if self.target:
            return "GET", self.target, b""
        user = quote_from_bytes(self.user_id.encode(), safe="")
        return "GET", f"/recommend?user_id={user}&k={self.k}", b""

    def _event(self) -> dict[str, object]:
        # The id comes from the rating itself, so a replay that is resumed or repeated adds nothing twice.
        return {
            "event_id": f"{self.user_id}/{self.item_id}/{self.event_time_us}",
            "user_id": self.user_id,
            "item_id": self.item_id,
            "timestamp_us": self.event_time_us,
            "rating": self.rating,
        }


_BLANK: Final = frozenset(map(chr, [*range(33), 127]))


def read_requests(path: Path) -> list[Recorded]:
    """The requests in `path`. `ReplayError` names the first line that cannot be read, or is earlier than its
    predecessor."""
    decoder = msgspec.json.Decoder(Recorded)
    requests: list[Recorded] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                requests.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ReplayError(f"{path}: line {number}: {error}") from error
    ensure_ascending(path, requests)
    return requests


def ensure_ascending(path: Path, requests: Sequence[Recorded]) -> None:
    """`ReplayError` when a request is earlier than the one before it, or there is none."""
    if not requests:
        raise ReplayError(f"{path}: no requests in it")
    for number, (one, other) in enumerate(itertools.pairwise(requests), start=2):
        if other.event_time_us < one.event_time_us:
            raise ReplayError(
                f"{path}: line {number} is earlier than the line before it; sort the file by event_time_us"
            )


def told(left_out: Mapping[str, int], nothing: str) -> str:
    """What was left out and how often, in words; `nothing` when nothing was."""
    return ", ".join(f"{number} × {reason}" for reason, number in left_out.items()) or nothing


def address(target: str) -> tuple[str, int]:
    """Host and port of `target`; `ReplayError` when it is not http://host:port."""
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not target.startswith("http://") or parts.path not in ("", "/"):
        raise ReplayError(f"--to {target!r} is not http://host:port")
    return host, port or 80
