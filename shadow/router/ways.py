"""Who talks with whom: the server with a client, a client with an exchange, an exchange with the way of its request.

Next module: `shadow.router.exchange`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from shadow.router.answers import AnswerReader

if TYPE_CHECKING:
    from shadow.router.client import Client
    from shadow.router.exchange import Exchange
    from shadow.router.router import Router


class Host(Protocol):
    """The server, as a client's connection sees it."""

    router: Router
    exchange: type[Exchange]
    """What a request becomes, by the router's mode."""
    draining: bool
    """Whether every answer is the last of its connection, and says so."""
    closing: bool
    """Whether connections end that have nothing under way."""
    clients: set[Client]

    def changed(self) -> None:
        """Something ended; a drain may be waiting for it."""


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


@dataclass(slots=True)
class Exchanged:
    """The end of an exchange: `error` "" after a whole answer, else a token (`refused`, `reset`, `timeout`, `short`,
    `garbage`, `too_large`, `cancelled`, `aborted`); `status` 0 when no head came. Times in microseconds: connecting (0
    on a pooled connection); first byte sent to last byte received."""

    status: int
    error: str
    connect_us: int
    upstream_us: int


class Receiver(Protocol):
    """Who waits for an answer. After `ended` nothing more is called."""

    def interim(self, answer: AnswerReader) -> None:
        """Interim answers came: `answer.interim`."""

    def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:
        """The head is there; `data` came of the body since the last call; `done` with its last part."""

    def ended(self, end: Exchanged) -> None:
        """It is over."""

    def pause_sending(self) -> None:
        """The upstream does not take more of the request for now."""

    def resume_sending(self) -> None:
        """It does again."""


class _Nobody:
    """Whom an ended leg would tell: a late callback of its connection, say."""

    def interim(self, answer: AnswerReader) -> None:
        pass

    def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:
        pass

    def ended(self, end: Exchanged) -> None:
        pass

    def pause_sending(self) -> None:
        pass

    def resume_sending(self) -> None:
        pass


NOBODY: Final = _Nobody()
