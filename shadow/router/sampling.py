"""Who is shown to an arm: by keyed hash of the user, so that a user is in or out at every replica and every time.

A user's bucket does not depend on the arm or the fraction: raising a fraction keeps those who were in (nested buckets).
Next module: `shadow.router.router`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final
from urllib.parse import unquote_to_bytes

BUCKETS: Final = 1_000_000
KEY_ID_OF: Final = b"understudy unit key"
"""What is hashed with a key to know it again."""


def unit_of(user_id: bytes, key: bytes) -> str:
    """The unit of a user: keyed BLAKE2b (RFC 7693), 16 bytes as hex. Without the key it tells nothing about the id.

    `key` has at most 64 bytes; `shadow.router.settings` sees to that.
    """
    return blake2b(user_id, key=key, digest_size=16).hexdigest()


def key_id_of(key: bytes) -> str:
    """Eight hexadecimal digits that tell one unit key from another: keyed BLAKE2b of a constant, 4 bytes.

    They do not help to guess a key. Of 16 random bytes 2^96 keys have the same id, and whether a guess is right is
    answered better by the units themselves, for users whose ids are known. The length is part of the hash, so no
    user's unit begins like it.
    """
    return blake2b(KEY_ID_OF, key=key, digest_size=4).hexdigest()


def bucket_of(unit: str) -> int:
    """The bucket of a unit in [0, 1000000)."""
    return int(unit[:16], 16) % BUCKETS


class HashSampler:
    """Takes the buckets below a fraction: users are in or out, and a raised fraction keeps those who were in."""

    def __init__(self, fraction: float) -> None:
        self._below = round(fraction * BUCKETS)

    def at(self, fraction: float) -> HashSampler:
        """The sampler that goes on from here with another fraction."""
        return HashSampler(fraction)

    def takes(self, bucket: int) -> bool:
        """Whether the arm is shown this bucket."""
        return bucket < self._below


class CounterSampler:
    """Takes an exact share of requests, evenly spread: after n of them n·f, rounded, were taken (Bresenham's line)."""

    def __init__(self, fraction: float, owed: int = BUCKETS // 2) -> None:
        self._step = round(fraction * BUCKETS)
        self._owed = owed

    def at(self, fraction: float) -> CounterSampler:
        """The sampler that goes on from here with another fraction: what was owed stays owed, or requests would be
        forgotten at every change."""
        return CounterSampler(fraction, self._owed)

    def takes(self, bucket: int) -> bool:  # noqa: ARG002 - the same call for both
        """Whether the arm is shown this request, whoever asks."""
        self._owed += self._step
        if self._owed < BUCKETS:
            return False
        self._owed -= BUCKETS
        return True


Sampler = HashSampler | CounterSampler


def sampler_of(sampling: str, fraction: float, before: Sampler | None) -> Sampler:
    """The sampler of an arm; it goes on from the one `before`, if that is of its kind."""
    kind = CounterSampler if sampling == "counter" else HashSampler
    return before.at(fraction) if isinstance(before, kind) else kind(fraction)


def user_of(query: bytes, parameter: bytes) -> bytes | None:
    """The decoded value of the last `parameter` in a raw query; None when there is none or it is empty.

    The last, because that is the one the services here answer for (Starlette); a repeated one is masked wherever it is.
    """
    found = None
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if value and decoded(name) == parameter:
            found = value
    return None if found is None else decoded(found)


def decoded(text: bytes) -> bytes:
    """A name or value of a query as the services here read it."""
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text
