"""`understudy shipper --keep`: the shipper as a child that is started again when it ends by itself.

In a pod, a container that ends takes the whole pod out of service until it runs again, and longer each time: a shipper
in trouble would cost users the primary. So the container's first process is this one. Next module:
`shadow.router.shipper`.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

logger = logging.getLogger(__name__)

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0
WELL_SECONDS: Final = 600.0
"""After so long a life the next pause is the first again."""
REFUSED: Final = 2
"""Exit code of settings that cannot be: at the first start that is the end, and somebody sees it."""


def keep(command: Sequence[str]) -> int:
    """Run `command` again and again until SIGTERM or SIGINT, which it is told; its exit code then."""
    keeper = _Keeper(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, keeper.stop)
    return keeper.run()


def pause_after(pause: float, lived: float) -> float:
    """Seconds before the next start, after the `pause` before the last one, which `lived` so many seconds."""
    if not pause or lived > WELL_SECONDS:
        return FIRST_SECONDS
    return min(2 * pause, LONGEST_SECONDS)


class _Keeper:
    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the handler's signature
        """Tell the child, and start it no more."""
        self._stopping.set()
        if self._child is not None:
            # A session of its own: a terminal's Ctrl-C reaches it by this way alone, once.
            self._child.send_signal(signal.SIGTERM)

    def run(self) -> int:
        """Until a stop; the child's exit code."""
        pause, starts = 0.0, 0
        while True:
            began = time.monotonic()
            code = self._once()
            starts += 1
            if self._stopping.is_set() or (code == REFUSED and starts == 1):
                return code
            pause = pause_after(pause, time.monotonic() - began)
            logger.error("the shipper ended with %d; start %d follows in %.0f s", code, starts + 1, pause)
            if self._stopping.wait(pause):
                return code

    def _once(self) -> int:
        """One life of the child."""
        self._child = subprocess.Popen(self._command, start_new_session=True)
        if self._stopping.is_set():  # the signal came before there was a child to tell
            self._child.send_signal(signal.SIGTERM)
        code = self._child.wait()
        self._child = None
        return code
