"""The shipper: a process of its own that turns the routers' streams of records into uploaded segments.

The router never waits for it: what this process cannot take, the router drops and counts. It alone holds the store's
credentials. Three tasks that do not wait for each other: one flushes by the clock, one waits for the disk, one for the
store. Next module: `shadow.router.shipper_process`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from shadow.contracts import Hello
from shadow.log_store import first_line
from shadow.router.growing import Spool
from shadow.router.leftovers import NAME, left_over
from shadow.router.retention import Retention
from shadow.router.shipper_metrics import Gauges
from shadow.router.shipper_settings import ShipperSettings
from shadow.router.spool import IncarnationLog
from shadow.router.store import Backoff, Store
from shadow.router.stream import Stream, StreamError

logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.1
GONE_SECONDS: Final = 600.0
"""A router that has not come back for so long is dead (it tries every second): once uploaded, its log is forgotten."""
SWEEP_SECONDS: Final = 3_600.0
"""Between looks for logs that are old enough to be deleted."""


class Shipper:
    """The logs of all routers that are connected or were, and the way to the store."""

    def __init__(self, settings: ShipperSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._spool = Spool.of(settings)
        self._told_to_end = asyncio.Event()
        self._stopping = asyncio.Event()
        self.counters = self._spool.counters
        self.streams: set[Stream] = set()
        self.logs: dict[tuple[str, str], IncarnationLog] = {}
        self.stopped = False
        for log in left_over(self._spool):
            logger.warning("%s: left over by an earlier shipper, %d segments to upload", log.name, len(log.waiting))
            # Its router may still live and go on where it was.
            self.logs[(log.manifest.experiment, log.manifest.incarnation)] = log

    # --- what streams ask --------------------------------------------------------------------------------------------

    def log_of(self, hello: Hello) -> IncarnationLog:
        """The log of a router: a new one, or the one it wrote to before it lost the connection."""
        key = (hello.experiment, hello.incarnation)
        for name in key:
            if not NAME.fullmatch(name):
                raise StreamError(f"hello names {name!r}, which cannot be a directory")
        if key in self.logs:
            self.logs[key].greet(hello)
        else:
            self.logs[key] = IncarnationLog.open(self._spool, hello)
        return self.logs[key]

    def malformed(self, error: Exception) -> None:
        """A stream made no sense, and is closed."""
        self.counters.streams_malformed += 1
        logger.error("a router's stream is closed: %s", error)

    def gauges(self) -> Gauges:
        """What is true now; may be asked from any thread."""
        logs = list(self.logs.values())
        return Gauges(
            pending_records=sum(log.pending for log in logs),
            spool_bytes=self._spool.budget.used,
            waiting_segments=sum(len(log.waiting) for log in logs),
            connected_routers=sum(log.streams for log in logs),
            stopped=self.stopped,
        )

    # --- its life ----------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT; 0 when all was uploaded, 1 when something stays in the spool."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        server = await loop.create_unix_server(lambda: Stream(self), str(self._settings.socket))
        logger.info("shipper ready at %s", self._settings.socket)
        keepers = [loop.create_task(turn()) for turn in (self._flush, self._settle, self._retain)]
        uploads = loop.create_task(self._upload())
        await self._told_to_end.wait()
        deadline = loop.time() + self._settings.drain_seconds
        while self.streams and loop.time() < deadline:
            await asyncio.sleep(0.05)
        server.close()
        for stream in list(self.streams):
            stream.close()
        self._stopping.set()
        # An upload under way may come to its end: one that is called back leaves doubt of what the store has. Half of
        # the time is for trying again what hangs.
        await asyncio.wait([*keepers, uploads], timeout=max(2 * TICK_SECONDS, (deadline - loop.time()) / 2))
        uploads.cancel()
        await asyncio.wait([*keepers, uploads], timeout=max(2 * TICK_SECONDS, deadline - loop.time()))
        return await self._finish(deadline)

    def stop(self) -> None:
        """Be told to end, as by SIGTERM."""
        self._told_to_end.set()

    async def _flush(self) -> None:
        while not await self._pause(TICK_SECONDS):
            self.tick(time.monotonic())

    async def _settle(self) -> None:
        while not await self._pause(TICK_SECONDS):
            await self._each(lambda log: log.settle())

    async def _upload(self) -> None:
        backoff = Backoff(self._settings.retry_seconds, Random())
        pause = TICK_SECONDS
        while not await self._pause(pause):
            if await self.ship():
                backoff.succeeded()
                pause = TICK_SECONDS
            else:
                pause = backoff.failed()

    async def _retain(self) -> None:
        retention = Retention.of(self._store.directory, self._settings.retain_days)
        while retention is not None:
            try:
                await asyncio.to_thread(retention.sweep, time.time(), time.monotonic(), set(self.logs))
            except OSError as error:
                logger.error("old logs not deleted, will be tried again (%s)", error)
            if await self._pause(SWEEP_SECONDS):
                return

    async def _pause(self, seconds: float) -> bool:
        """Wait; whether the end has come."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass
        return self._stopping.is_set()

    async def _finish(self, deadline: float) -> int:
        """Close and upload everything, trying again until `deadline` (of the loop's clock); the exit code."""
        loop = asyncio.get_running_loop()
        for log in self.logs.values():
            log.close()
        backoff = Backoff(1.0, Random())
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + 1.0)):
                while True:
                    await self._each(lambda log: log.settle())
                    # A disk that refused a second ago may let them go now.
                    if await self.ship() and all(log.shipped and log.emptied for log in self.logs.values()):
                        return 0
                    await asyncio.sleep(backoff.failed())
        except TimeoutError:
            pass
        unshipped = [log for log in self.logs.values() if not log.shipped]
        for log in unshipped:
            logger.error("%s: %d segments stay in the spool for the next shipper", log.name, len(log.waiting))
        return int(bool(unshipped))

    # --- the turns ---------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """What hangs on the clock, none of which waits for anything."""
        for log in self.logs.values():
            try:
                log.tick(now)
            except Exception:
                # One router's trouble must not stop the flushing of all others'.
                logger.exception("%s: not flushed", log.name)
        stopped = self._spool.budget.stops()
        if stopped != self.stopped:
            self.stopped = stopped
            logger.warning(
                "the spool %s", "is full: mirroring is stopped" if stopped else "has room: mirroring goes on"
            )
            for log in self.logs.values() if stopped else ():
                log.close_segment()  # What is open cannot be uploaded, and makes no room.
        for stream in self.streams:
            if stream.greeted:
                stream.report()

    async def ship(self) -> bool:
        """Upload what is closed; whether all went well."""
        whole = await self._each(self._ship_one)
        for key, log in list(self.logs.items()):
            gone = log.ended or time.monotonic() - log.quiet_since > GONE_SECONDS
            # Not before its segments are gone: without the manifest the next shipper would take them for another log.
            if log.shipped and log.cleared and gone and not log.streams:
                log.tell(math.inf)
                del self.logs[key]
                _forget(log)
        return whole

    async def _ship_one(self, log: IncarnationLog) -> None:
        try:
            await log.ship(self._store)
        except Exception:
            self.counters.uploads_failed += 1
            raise

    async def _each(self, turn: Callable[[IncarnationLog], Awaitable[None]]) -> bool:
        """Give every log its turn, whatever happens to another's; whether all went well."""
        whole = True
        for log in list(self.logs.values()):
            try:
                await turn(log)
            except Exception as error:
                logger.error("%s: not uploaded, will be tried again (%s)", log.name, first_line(error))
                whole = False
        return whole


def _forget(log: IncarnationLog) -> None:
    """Clear the spool of it; what stays by a fault holds nothing of the log any more."""
    try:
        log.forget()
    except OSError as error:
        logger.warning("%s: uploaded, but the spool was not cleared (%s)", log.name, error)
