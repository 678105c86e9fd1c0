"""What an exchange sees on its two sides: the client's connection, and the way of its request.

Next module: `shadow.router.exchange`.
"""

from __future__ import annotations

from typing import Protocol


class Respondent(Protocol):
    """The client's connection, as an exchange sees it."""

    address: bytes
    """The client's IP address."""

    def write(self, data: bytes) -> None:
        """Bytes for the client."""

    def finish(self, close: bool) -> None:
        """The answer has left whole; `close` when nothing may come after it."""

    def break_off(self, abort: bool) -> None:
        """The answer cannot become whole, and the client must be able to tell; `abort` when only a reset can say so."""

    def pause(self) -> None:
        """Read no more of the request for now."""

    def resume(self) -> None:
        """Read on."""


class Way(Protocol):
    """The way of a request: a `Leg` to the primary, or what a split makes of it."""

    def send(self, data: bytes, whole: bool) -> None:
        """More of the request; `whole` with the last of it."""

    def cancel(self) -> None:
        """Give up; the exchange is told "cancelled"."""

    def pause(self) -> None:
        """The client does not take more of the answer for now."""

    def resume(self) -> None:
        """It does again."""
