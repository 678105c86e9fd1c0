"""Ports for servers that a test starts, chosen so that nobody takes them between the choice and the bind.

A port the kernel picked (bind to 0) and that was closed again may be given to any outgoing connection or to another
test before our server binds it. These come from a band per pytest-xdist worker, below the ranges that Linux
(32,768 and up) and macOS (49,152 and up) give out by themselves, and none is handed out twice by one process.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import Final

BAND: Final = 1_000
"""Ports of one worker."""
_given: set[int] = set()


def free_port(offsets: tuple[int, ...] = (0,)) -> int:
    """A base from which `base + offset` is free now for every offset."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    first = 15_000 + worker * BAND
    for base in range(first, first + BAND - max(offsets)):
        ports = {base + offset for offset in offsets}
        if ports & _given or not _all_free(ports):
            continue
        _given.update(ports)
        return base
    raise RuntimeError(f"no free ports from {first} to {first + BAND}")


def _all_free(ports: set[int]) -> bool:
    with ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            return False
    return True
