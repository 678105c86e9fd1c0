"""Who is shown to an arm: by keyed hash of the user, so that a user is in or out at every replica and every time.

A user's bucket does not depend on the arm or the fraction: raising a fraction keeps those who were in (nested buckets).
Next module: `shadow.router.router`.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from shadow.units import BUCKETS


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
