"""Who is shown to an arm: by keyed hash of the user, so that a user is in or out at every replica and every time.

A user's bucket does not depend on the arm or the fraction: raising a fraction keeps those who were in (nested buckets).
Next module: `shadow.router.exchange`, which asks.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from urllib.parse import quote, unquote_to_bytes

BUCKETS: Final = 1_000_000


def unit_of(user_id: bytes, key: bytes) -> str:
    """The unit of a user: keyed BLAKE2b, 16 bytes as hex. Without the key it tells nothing about the id."""
    return blake2b(user_id, key=key[:64], digest_size=16).hexdigest()


def bucket_of(unit: str) -> int:
    """The bucket of a unit in [0, 1000000)."""
    return int(unit[:16], 16) % BUCKETS


def sampled(bucket: int, fraction: float) -> bool:
    """Whether an arm with this fraction is shown this bucket."""
    return bucket < round(fraction * BUCKETS)


def user_of(query: bytes, parameter: bytes) -> bytes | None:
    """The decoded value of the first `parameter` in a raw query; None when there is none or it is empty."""
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if value and _decoded(name) == parameter:
            return _decoded(value)
    return None


def without_user(target: bytes, parameter: bytes, user: bytes | None, unit: str) -> str:
    """`target` for the record: every value that is the user's id, or stands under `parameter`, is the unit instead."""
    path, mark, query = target.partition(b"?")
    if not mark or user is None:
        return target.decode("latin-1")
    parts = []
    for part in query.split(b"&"):
        name, equals, value = part.partition(b"=")
        if equals and (_decoded(name) == parameter or _decoded(value) == user):
            part = name + b"=" + unit.encode()
        elif not equals and _decoded(name) == user:
            part = unit.encode()
        parts.append(part)
    return quote(path, safe="/%:@!$&'()*+,;=~-._") + "?" + b"&".join(parts).decode("latin-1")


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
