"""Appending a record to a log in the registry (decision 0007), though answers get lost and the registry may be busy.

The log tells whether a record is in it, by the record's nonce; writing it again must be harmless. Next module:
`bentos.promotions`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bentos.errors import RegistryError

ATTEMPTS: Final = 20
"""How often a busy registry is asked again."""
PAUSE_S: Final = 1.0
"""Longest pause before that, in seconds; a random part of it steps out of the others' way."""
Found = TypeVar("Found")


async def append(
    write: Callable[[], Awaitable[None]], find: Callable[[], Awaitable[Found | None]], again_unanswered: bool
) -> tuple[Found | None, RegistryError | None]:
    """What `find` found of the record that `write` wrote; None, with the last error of `write` if there was one, when
    it is not known whether it was written.

    `RegistryError` when the registry refused it. `again_unanswered`: a `write` that had no answer at all is tried
    again, too, not only looked for.
    """
    failed: RegistryError | None = None
    written = False
    for attempt in range(ATTEMPTS):
        if attempt:
            await asyncio.sleep(PAUSE_S * random.random())
        if not written:
            failed = await _failure(write)
            written = failed is None
        if failed is not None and failed.status and not failed.passing:
            raise failed
        found = await find()
        if found is not None:
            return found, None
        if failed is not None and not failed.status and not again_unanswered:
            break
    return None, failed


async def _failure(write: Callable[[], Awaitable[None]]) -> RegistryError | None:
    try:
        await write()
    except RegistryError as error:
        return error
    return None
