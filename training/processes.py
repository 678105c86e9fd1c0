"""Which process a run in MLflow belongs to, and whether that is gone: a killed process cannot say so itself.

A process is known by its machine, number and start. Only of one on this very machine (the same boot and, on Linux, the
same namespace of process numbers) can it be said that it is gone; of others nothing is. Next module:
`training.store_creation`.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
MACHINE: Final = "process.machine"
NUMBER: Final = "process.id"
STARTED: Final = "process.started"


def this_process() -> dict[str, str]:
    """Tags that name this process."""
    number = os.getpid()
    return {MACHINE: machine(), NUMBER: str(number), STARTED: started(number)}


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process that these tags name is certainly gone: it was of this machine, and is not there any more."""
    number = tags.get(NUMBER, "")
    if tags.get(MACHINE) != machine() or not number.isdecimal():
        return False
    return started(int(number)) != tags.get(STARTED)


def machine() -> str:
    """Within it no two processes have the same number at a time."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def started(number: int) -> str:
    """When process `number` began, in the words of the system; "" when there is none, or only its exit status."""
    if not (PROC / "self").exists():
        words = ["ps", "-o", "lstart=", "-p", str(number)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    try:
        # The name, in brackets, may hold anything; after it stand the state and, twentieth, the start in clock ticks.
        fields = (PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
