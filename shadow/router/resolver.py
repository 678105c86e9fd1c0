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
"""How long addresses are used before the name is looked up anew."""
Addresses = tuple[tuple[str, int], ...]
"""Host and port of each, in the system's order of preference."""


class Resolver:
    """The addresses of one host. A look-up that fails leaves the last good ones in use."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._addresses: Addresses = ()
        self._looked_at = float("-inf")
        self._lookup: asyncio.Future[Addresses] | None = None
        try:
            self._addresses = ((str(ipaddress.ip_address(host)), port),)
            self._looked_at = float("inf")
        except ValueError:
            pass

    async def addresses(self) -> Addresses:
        """Where to connect to, to be tried in this order; `OSError` when the name has never been found."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked_at < FRESH_SECONDS and self._addresses:
            return self._addresses
        if self._lookup is None:
            self._lookup = loop.create_future()
            self._lookup.add_done_callback(self._found)
            threading.Thread(target=self._look, args=(loop, self._lookup), daemon=True).start()
        if self._addresses:
            return self._addresses  # the old ones, while the new ones are looked up
        return await asyncio.shield(self._lookup)

    def _look(self, loop: asyncio.AbstractEventLoop, lookup: asyncio.Future[Addresses]) -> None:
        """In a thread of its own."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            addresses, error = tuple((str(each[4][0]), int(each[4][1])) for each in found), None
        except (OSError, UnicodeError) as failure:
            addresses, error = (), OSError(f"{self._host} cannot be resolved ({failure})")
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(_settle, lookup, addresses, error)

    def _found(self, lookup: asyncio.Future[Addresses]) -> None:
        self._lookup = None
        if lookup.cancelled():
            return
        if lookup.exception() is None:
            self._addresses = lookup.result()
        self._looked_at = asyncio.get_running_loop().time()


def _settle(lookup: asyncio.Future[Addresses], addresses: Addresses, error: OSError | None) -> None:
    if lookup.done():
        return
    if error is None:
        lookup.set_result(addresses)
    else:
        lookup.set_exception(error)
