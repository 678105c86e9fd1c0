"""A whole set on one machine: Redis, three bentos, a router and its shipper, each a real process on loopback.

`Rehearsal` only knows how to start, ask and stop these; what is played on it is the story's business
(`shadow.demo`, `tests/integration`). Every command line that runs is printed, so that a reader can run it by hand.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from shadow.accounting import RouterCounts, discrepancies, metrics_discrepancies
from shadow.processes import Stage, StepError, accepts, answers, interrupt

HOST: Final = "127.0.0.1"
SETTLE_SECONDS: Final = 20.0
"""How long copies under way may take to be decided after the last request: the arms' deadline and the pipe's."""


@dataclass(frozen=True)
class Ports:
    """The ports of one set, counted from `base`."""

    base: int

    @property
    def router(self) -> int:
        """Where users ask."""
        return self.base

    @property
    def admin(self) -> int:
        """The router's counters and metrics."""
        return self.base + 1

    @property
    def redis(self) -> int:
        """The feature store."""
        return self.base + 20

    def bento(self, arm: str) -> int:
        """The service of `arm`: primary, shadow or control."""
        return self.base + 10 + ("primary", "shadow", "control").index(arm)

    def all(self) -> list[tuple[str, int]]:
        """Pairs (purpose, port), for `ensure_ports_free`."""
        arms = [(arm, self.bento(arm)) for arm in ("primary", "shadow", "control")]
        return [("router", self.router), ("router admin", self.admin), *arms, ("Redis", self.redis)]


@dataclass
class Rehearsal:
    """The set: `directory` holds its logs, stores and pair log; `say` receives each command line."""

    directory: Path
    ports: Ports
    stage: Stage
    say: Callable[[str], None]
    # A unix socket's path may have 104 bytes on macOS, 108 on Linux: too few for one inside a deep directory.
    sockets: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="understudy-", dir="/tmp")
    )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sockets.cleanup()

    @property
    def socket(self) -> Path:
        """Where the router reaches the shipper."""
        return Path(self.sockets.name) / "shipper.sock"

    @property
    def pairs(self) -> Path:
        """Where the shipper puts the segments."""
        return self.directory / "pairs"

    @property
    def redis_url(self) -> str:
        """The feature store's address."""
        return f"redis://{HOST}:{self.ports.redis}/0"

    def run(self, *arguments: str | Path, accept: Sequence[int] = (0,), capture: bool = False) -> str:
        """Run `understudy ARGUMENTS…` to its end; its standard output if `capture`. `StepError` on another exit code.

        An interrupt while it runs is passed on to it, and it is waited for: no step outlives the story.
        """
        self.say(f"understudy {shlex.join(map(str, arguments))}")
        process = subprocess.Popen(
            command(*arguments), env=self.stage.environment, stdout=subprocess.PIPE if capture else None, text=True
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            interrupt(process)
            raise
        if process.returncode not in accept:
            raise StepError(f"`understudy {shlex.join(map(str, arguments))}` failed with code {process.returncode}")
        return output or ""

    def start_redis(self) -> None:
        """Start the feature store and wait until it accepts."""
        arguments = ("redis", "--port", str(self.ports.redis), "--dir", str(self.directory / "redis"))
        self._start("redis", arguments, lambda: accepts(HOST, self.ports.redis))

    def start_bento(self, arm: str, tag: str) -> None:
        """Serve the bento `tag` as `arm`; it does not know its role."""
        port = self.ports.bento(arm)
        # Six processes share a laptop's cores: 5 ms, the default, would be missed for want of CPU, not of Redis.
        options = ("--redis", self.redis_url, "--feature-deadline-ms", "100")
        arguments = ("serve", tag, "--port", str(port), *options)
        self._start(arm, arguments, lambda: answers(f"http://{HOST}:{port}/readyz"), seconds=90)

    def start_router(self, experiment: str, tags: dict[str, str]) -> None:
        """Start shipper and router for `tags` (arm → bento tag; "primary" must be there)."""
        spool = self.directory / "spool"
        shipper = ("shipper", "--socket", str(self.socket), "--spool", str(spool), "--destination", self.pairs.as_uri())
        self._start("shipper", shipper, self.socket.exists)
        configuration = self.directory / f"router-{experiment}.json"
        configuration.write_bytes(msgspec.json.format(msgspec.json.encode(self._router(experiment, tags)), indent=2))
        ready = f"http://{HOST}:{self.ports.admin}/readyz"
        self._start("router", ("router", "--config", str(configuration)), lambda: answers(ready))

    def _router(self, experiment: str, tags: dict[str, str]) -> dict[str, Any]:
        def address(arm: str) -> dict[str, str]:
            return {"url": f"http://{HOST}:{self.ports.bento(arm)}", "version": tags[arm]}

        return {
            "experiment": experiment,
            "listen": f"{HOST}:{self.ports.router}",
            "admin": f"{HOST}:{self.ports.admin}",
            "shipper": str(self.socket),
            "primary": address("primary"),
            "arms": [{"name": arm} | address(arm) for arm in tags if arm != "primary"],
            "routes": [{"method": "GET", "path": "/recommend"}],
            "unit_parameter": "user_id",
        }

    def counts(self) -> RouterCounts:
        """The router's counters once nothing is under way any more; `StepError` after `SETTLE_SECONDS`."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            counts = msgspec.json.decode(self._ask_admin("/counters"), type=RouterCounts)
            if counts.settled:
                return counts
            if time.monotonic() > deadline:
                flying = {name: arm.in_flight for name, arm in counts.arms.items() if arm.in_flight}
                raise StepError(
                    f"not at rest {SETTLE_SECONDS:.0f} s after the last request: copies under way {flying or 'none'}, "
                    f"{counts.pair_log.queued_bytes:,} bytes of records that the shipper does not take; "
                    f"see the logs in {self.stage.logs}"
                )
            time.sleep(0.1)

    def metrics(self) -> str:
        """What Prometheus would scrape from the router now."""
        return self._ask_admin("/metrics").decode()

    def _ask_admin(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{HOST}:{self.ports.admin}{path}", timeout=5) as response:
            return bytes(response.read())

    def close_log(self) -> None:
        """Stop router, then shipper: the router says goodbye, the shipper closes and ships its segments."""
        for name in ("router", "shipper"):
            code = self.stage.stop(name)
            if code != 0:
                raise StepError(f"{name} ended with code {code}; see {self.stage.logs / (name + '.log')}")

    def replay(self, requests: Path, result: Path, *options: str) -> dict[str, Any]:
        """Replay `requests` against the router; its own count of what it sent and got."""
        target = f"http://{HOST}:{self.ports.router}"
        self.run("replay", "--requests", requests, "--to", target, "--json-out", result, *options)
        self.stage.ensure_alive()
        document: dict[str, Any] = msgspec.json.decode(result.read_bytes())
        return document

    def accounts(self, experiment: str, sent: int, counts: RouterCounts, metrics: str) -> list[str]:
        """Where client, router, its metrics and log disagree about `experiment`; empty when the identity holds."""
        text = self.run("pairs", "stats", self.pairs, "--experiment", experiment, "--json", capture=True)
        stats = msgspec.json.decode(text)
        logged = {arm: values["outcomes"] for arm, values in stats["arms"].items()}
        wrong = discrepancies(sent, counts, logged, stats["exposures"]) + metrics_discrepancies(counts, metrics)
        return wrong + list(stats["problems"])

    def _start(self, name: str, arguments: Sequence[str], ready: Callable[[], bool], seconds: float = 60) -> None:
        self.say(f"understudy {shlex.join(arguments)} &")
        self.stage.start(name, command(*arguments), ready, seconds)


def command(*arguments: str | Path) -> list[str]:
    """The command line of `understudy ARGUMENTS…` in this very environment."""
    return [sys.executable, "-m", "shadow", *map(str, arguments)]
