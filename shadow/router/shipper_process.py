"""The shipper as a process: alone with its spool, its files for nobody else to read, its metrics beside it.

Next module: `shadow.router.retention`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shadow.router.shipper import Shipper
from shadow.router.shipper_metrics import ShipperCollector, served
from shadow.router.shipper_settings import LOCK, ShipperSettings
from shadow.router.store import Store


@contextmanager
def locked(spool: Path) -> Iterator[None]:
    """The spool for this process alone; `ValueError` when another has it."""
    spool.mkdir(parents=True, exist_ok=True)
    file = os.open(spool / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another shipper uses the spool {spool}: stop it, or give this one another") from error
        yield
    finally:
        os.close(file)


def run_shipper(settings: ShipperSettings) -> int:
    """Run a shipper to its end; its exit code. `ValueError` and `OSError` say what cannot be used."""
    before = os.umask(0o077)
    try:
        with locked(settings.spool):
            try:
                return asyncio.run(_serve(settings))
            finally:
                # Not without the lock: the socket of a shipper that was refused is another's.
                settings.socket.unlink(missing_ok=True)
    finally:
        os.umask(before)


async def _serve(settings: ShipperSettings) -> int:
    shipper = Shipper(settings, Store(settings))
    settings.socket.unlink(missing_ok=True)
    with served(settings.metrics, ShipperCollector(shipper.counters, shipper.gauges)):
        return await shipper.run()
