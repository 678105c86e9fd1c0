"""The addresses of an upstream, looked up beside the loop: no upstream's name server can hold up another upstream.

asyncio looks names up in one small pool of threads that all share, and waits for them at the end; here every upstream
has a daemon thread of its own while a look-up runs. Next module: `shadow.router.pool`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import Final

FRESH_SECONDS: Final = 5.0
"""How long an address is used before the name is looked up anew."""


class Resolver:
    """The address of one host. A look-up that fails leaves the last good address in use."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._address: tuple[str, int] | None = None
        self._looked_at = float("-inf")
        self._lookup: asyncio.Future[tuple[str, int]] | None = None
        try:
            self._address = (str(ipaddress.ip_address(host)), port)
            self._looked_at = float("inf")
        except ValueError:
            pass

    async def address(self) -> tuple[str, int]:
        """The address to connect to; `OSError` when the name has never been found."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked_at < FRESH_SECONDS and self._address is not None:
            return self._address
        if self._lookup is None:
            self._lookup = loop.create_future()
            self._lookup.add_done_callback(self._found)
            threading.Thread(target=self._look, args=(loop, self._lookup), daemon=True).start()
        if self._address is not None:
            return self._address  # the old one, while the new one is looked up
        return await asyncio.shield(self._lookup)

    def _look(self, loop: asyncio.AbstractEventLoop, lookup: asyncio.Future[tuple[str, int]]) -> None:
        """In a thread of its own."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            address, error = (str(found[0][4][0]), int(found[0][4][1])), None
        except (OSError, UnicodeError) as failure:
            address, error = ("", 0), OSError(f"{self._host} cannot be resolved ({failure})")
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(_settle, lookup, address, error)

    def _found(self, lookup: asyncio.Future[tuple[str, int]]) -> None:
        self._lookup = None
        if lookup.cancelled():
            return
        if lookup.exception() is None:
            self._address = lookup.result()
        self._looked_at = asyncio.get_running_loop().time()


def _settle(lookup: asyncio.Future[tuple[str, int]], address: tuple[str, int], error: OSError | None) -> None:
    if lookup.done():
        return
    if error is None:
        lookup.set_result(address)
    else:
        lookup.set_exception(error)
