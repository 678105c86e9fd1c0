"""Which configuration is in force, who may put another one there, and when copying stops whatever it says.

An abort stops copying until somebody says `resume`, and a lease that ran out until it is renewed; both outrank every
configuration. All of it happens within one turn of the loop. Next module: `shadow.router.aborts`, what
outlasts the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, Protocol

import msgspec

from shadow.router.config import ConfigError, RouterConfig, parse_config
from shadow.router.router import without_copies

logger = logging.getLogger(__name__)

ABORTED: Final = "aborted"
LEASE_EXPIRED: Final = "lease_expired"


class Swapped(Protocol):
    """The router's process, as its control sees it."""

    draining: bool

    def adopt(self, config: RouterConfig) -> None:
        """Put it in force; `ValueError` names what cannot change."""

    def cut(self) -> None:
        """Call back the copies under way of arms that are no more."""


class Control:
    """The configuration in force: `config` as it was given, less what `suspended` forbids."""

    def __init__(self, router: Swapped, config: RouterConfig, source: str, generation: int = 1) -> None:
        self.config = config
        self.source = source
        """Where it came from: `file`, `admin`, `server`; while that is away `disk`, its last good one, or `seed`."""
        self.generation = generation
        """Of a server: the number it gave; else counted from 1."""
        self.suspended: frozenset[str] = frozenset()
        """Why nothing is copied, whatever the configuration says: `aborted`, `lease_expired`."""
        self.changes: Counter[str] = Counter({"accepted": 0, "refused": 0})
        self.troubles: Counter[str] = Counter()
        """By kind: `refused`, and what a server or the disk did wrong."""
        self.lease_expirations = 0
        self.kept: Callable[[], None] = lambda: None
        """Called after an abort or a resume: whoever keeps the state keeps it again."""
        self.settled: Callable[[float], str] | None = None
        """Blocks so many seconds at most until what was kept is on disk; what is wrong with that, or ""."""
        self.unkept = ""
        """Why an abort would not outlast a restart; "" when it would."""
        self._trouble: dict[str, Any] | None = None
        self._router = router
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def effective(self) -> RouterConfig:
        """What the router does."""
        return without_copies(self.config) if self.suspended else self.config

    @property
    def text(self) -> bytes:
        """The configuration as it can be given again."""
        return msgspec.json.format(msgspec.json.encode(self.config), indent=2) + b"\n"

    @property
    def etag(self) -> str:
        """Changes with the configuration, its generation, an abort and a resume; RFC 9110 §8.8.3."""
        state = self.text + b" ".join(sorted(reason.encode() for reason in self.suspended))
        return f'"{self.generation}.{sha256(state).hexdigest()[:16]}"'

    def offer(self, data: bytes, source: str, where: str, generation: int | None = None) -> None:
        """Put in force what `data` holds; `ConfigError` names where, field and remedy, and nothing has changed then."""
        try:
            if self._router.draining:
                raise ConfigError(f"{where}: the router is leaving and changes no more")
            config = parse_config(data, where)
            try:
                self._router.adopt(without_copies(config) if self.suspended else config)
            except ValueError as error:
                raise ConfigError(f"{where}: {error}") from error
        except ConfigError as error:
            self.changes["refused"] += 1
            self.trouble("refused", str(error))
            raise
        self.config, self.source = config, source
        self.generation = self.generation + 1 if generation is None else generation
        self.changes["accepted"] += 1
        logger.info("configuration %s of %s is in force, mode %s", self.generation, where, self.effective.mode)

    def abort(self) -> None:
        """Copy nothing from now on, whoever configures what, until `resume`; what is under way is called back."""
        self.suspend(ABORTED)
        self._router.cut()
        self.kept()

    def resume(self) -> None:
        """Take an abort back."""
        self._release(ABORTED)
        self.kept()

    def renew(self, seconds: float) -> None:
        """Whoever gave the configuration stands by it for so long from now; then nothing is copied any more."""
        self.end_lease()
        self._expiry = asyncio.get_running_loop().call_later(seconds, self.expire)
        self._release(LEASE_EXPIRED)

    def expire(self) -> None:
        """The lease has run out."""
        self.lease_expirations += 1
        self._expiry = None
        self.suspend(LEASE_EXPIRED)

    def end_lease(self) -> None:
        """Let no lease run out any more."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None

    @property
    def lease_seconds_left(self) -> float | None:
        """Seconds until the lease runs out, 0 when it has; None when there is none."""
        if self._expiry is not None:
            return max(0.0, self._expiry.when() - asyncio.get_running_loop().time())
        return 0.0 if LEASE_EXPIRED in self.suspended else None

    def trouble(self, kind: str, text: str) -> None:
        """Something went wrong; the last one is told."""
        if self._trouble is None or self._trouble["text"] != text:
            logger.error("%s: %s", kind, text)
        self.troubles[kind] += 1
        self._trouble = {"kind": kind, "text": text, "at_us": time.time_ns() // 1000}

    def well(self) -> None:
        """What went wrong is over."""
        self._trouble = None

    def document(self) -> dict[str, Any]:
        """The control's part of `/counters`."""
        return {
            "generation": self.generation,
            "source": self.source,
            "etag": self.etag,
            "mode": self.effective.mode,
            "suspended": sorted(self.suspended),
            "unkept": self.unkept,
            "changes": dict(self.changes),
            "lease_seconds_left": self.lease_seconds_left,
            "lease_expirations": self.lease_expirations,
            "error": self._trouble,
            "errors": dict(self.troubles),
        }

    def suspend(self, reason: str) -> None:
        """Copy nothing, for this reason, until it is gone."""
        if reason not in self.suspended:
            logger.warning("nothing is copied any more: %s", reason)
            self.suspended |= {reason}
            self._router.adopt(self.effective)

    def _release(self, reason: str) -> None:
        if reason in self.suspended:
            self.suspended -= {reason}
            logger.warning("no longer %s; mode %s", reason, self.effective.mode)
            self._router.adopt(self.effective)
