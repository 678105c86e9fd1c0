"""One connection to Redis, which carries a batch of questions at a time and reads every answer itself.

Faults are named as in `bentos.features`. Next module: `bentos.feature_lanes`, which has a few of these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

CONNECT_SECONDS: Final = 1.0
"""How long one attempt to connect may take."""


class LaneError(Exception):
    """A question that got no answer; `fault` is one of `bentos.features.FAULTS`."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(slots=True)
class Question:
    """Commands that go together and may be sent twice, as Redis takes them, and where the `number` replies are put."""

    packed: bytes
    number: int
    replies: asyncio.Future[list[Any] | LaneError]
    repeated: bool = False

    def fail(self, fault: str) -> None:
        """Tell who asked, unless he has gone."""
        if not self.replies.done():
            self.replies.set_result(LaneError(fault))


class Lane:
    """One connection. `fault`: why it could not be opened, or ""; `reason`: the same in the library's words. `since`:
    when the batch under way was sent. `idle`: resolved to wake it.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.open = asyncio.Event()
        self.fault = self.reason = ""
        self.since: float | None = None
        self.idle: asyncio.Future[None] | None = None

    def late(self, now: float, deadline: float) -> bool:
        """Whether the batch under way has not been answered within the deadline."""
        return self.since is not None and now - self.since > deadline

    async def connect(self) -> None:
        """Open and try the connection once; afterwards it is `open` or has a `fault`."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.connection.connect()  # type: ignore[no-untyped-call]
                await self.connection.send_command("PING", check_health=False)
                await self.connection.read_response()
        except Exception as error:
            self.reason = str(error)
            # No answer on an open connection is lateness; without one Redis is out of reach.
            late = isinstance(error, TimeoutError) and self.connection.is_connected
            await self.leave("timeout" if late else fault_of(error))
        else:
            self.fault = ""
            self.open.set()

    async def leave(self, fault: str) -> None:
        """Give the connection up."""
        self.open.clear()
        self.fault, self.since = fault, None
        await self.connection.disconnect(nowait=True)

    async def closed(self) -> bool:
        """Whether the other end has closed it, or has said something that nobody asked for."""
        from redis.exceptions import RedisError

        try:
            return bool(await self.connection.can_read())
        except (RedisError, OSError):
            return True

    async def carry(self, batch: Sequence[Question]) -> None:
        """Send the questions and give each its replies; errors of single commands are replies too."""
        from redis.exceptions import ResponseError

        connection = self.connection
        await connection.send_packed_command(b"".join([question.packed for question in batch]), check_health=False)
        for question in batch:
            replies: list[Any] = []
            for _ in range(question.number):
                try:
                    replies.append(await connection.read_response(disable_decoding=True))
                except ResponseError as error:
                    replies.append(error)
            if not question.replies.done():
                question.replies.set_result(replies)


def fault_of(error: Exception) -> str:
    """The fault behind an error of the client library."""
    from redis import exceptions as redis_errors

    # For redis-py many answers of Redis are connection errors.
    answers = (
        redis_errors.ResponseError,
        redis_errors.AuthenticationError,
        redis_errors.AuthorizationError,
        redis_errors.BusyLoadingError,
        redis_errors.NoPermissionError,
    )
    if isinstance(error, answers) or "max number of clients" in str(error):
        return "refused"
    return "unreachable"
