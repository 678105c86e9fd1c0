"""What the bench of the router stands on: programs that must be there, a core for the proxy, processes and their cost.

The proxy has one core for itself, load and upstreams have the others, so what is measured does not compete with what
measures it. Every process listens on the loopback and ends with the `with` block. Linux only.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shadow.processes import Running, Stage, StepError, accepts
from shadow.rehearsal import HOST
from tests.bench.serving_stage import cpu_seconds, family

ROOT: Final = Path(__file__).parents[2]
PEERS: Final = Path(__file__).parent / "peers"
REMEDY: Final = {
    "nginx": "Debian: apt-get install nginx-light, and stop its service",
    "wrk": "Debian: apt-get install wrk",
    "taskset": "Debian: apt-get install util-linux",
    "envoy": "make .venv-router/installed",
    "py-spy": "make .venv-router/installed",
}
SETTLE_SECONDS: Final = 60.0
"""How long copies under way and the pair log may take after the load has ended."""


class MissingError(Exception):
    """A program or a machine that the bench cannot do without; the text says what to do."""


def program(name: str) -> str:
    """The path of `name`: from the bench's own environment, the PATH, or where Debian keeps servers."""
    places = os.pathsep.join([str(ROOT / ".venv-router" / "bin"), os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=places)
    if not found:
        raise MissingError(f"{name} is not there: {REMEDY[name]}")
    return found


@dataclass(frozen=True)
class Cores:
    """Which core the proxy has and which the others have."""

    proxy: int
    load: tuple[int, ...]

    @staticmethod
    def of_this_machine() -> Cores:
        """The first for the proxy, the rest for load and upstreams. `MissingError` when there is one core only."""
        if not hasattr(os, "sched_getaffinity"):
            raise MissingError("this bench reads /proc and pins processes to cores: Linux only")
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise MissingError("this bench needs two cores: one for the proxy, one for load and upstreams")
        return Cores(cores[0], tuple(cores[1:]))

    def text(self) -> str:
        """For the report."""
        return f"proxy on core {self.proxy}, load and upstreams on core {', '.join(map(str, self.load))}"


@dataclass
class Proxy:
    """One proxy under test: its port and its processes by what they are."""

    name: str
    port: int
    parts: dict[str, Running] = field(default_factory=dict)
    admin: int = 0
    """The port of the router's counters; 0 for the others, which have none."""
    spool: Path | None = None

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of each part with its children, so far."""
        return {name: cpu_seconds(running) for name, running in self.parts.items()}

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of each part with its children, in MB of 10⁶ bytes."""
        return {
            name: sum(each.memory_info().rss for each in family(running)) / 1e6 for name, running in self.parts.items()
        }

    def peak_mb(self) -> dict[str, float]:
        """The most that it was since `forget_peak`, as the kernel keeps it."""
        return {name: sum(map(_peak, _processes(running))) / 1e6 for name, running in self.parts.items()}

    def forget_peak(self) -> None:
        """The peak of every process is what it has now."""
        for running in self.parts.values():
            for pid in _processes(running):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def counters(self) -> dict[str, Any]:
        """The router's counters; empty for the others."""
        if not self.admin:
            return {}
        with urllib.request.urlopen(f"http://{HOST}:{self.admin}/counters", timeout=5) as answer:
            return json.load(answer)

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until no copy is under way and all records are uploaded. `StepError` when it is not within `seconds`."""
        deadline = time.monotonic() + seconds
        while not self._idle():
            if time.monotonic() > deadline:
                raise StepError(f"{self.name} still has copies or records after {seconds:.0f} s")
            time.sleep(0.1)

    def _idle(self) -> bool:
        if not self.admin or self.spool is None:
            return True
        found = self.counters()
        busy = any(arm["in_flight"] for arm in found["arms"].values()) or found["pair_log"]["queued_bytes"]
        return not busy and not [path for path in self.spool.glob("*/*/*") if path.name != "manifest.json"]


class Watch:
    """What a proxy spends from now on, and what of its core others have meanwhile."""

    def __init__(self, cores: Cores, proxy: Proxy) -> None:
        self._core = cores.proxy
        self._proxy = proxy
        self._began = time.monotonic(), idle_seconds(self._core), proxy.cpu_seconds()

    def spent(self) -> dict[str, float]:
        """CPU seconds of each part."""
        return {part: seconds - self._began[2][part] for part, seconds in self._proxy.cpu_seconds().items()}

    def others(self) -> float:
        """The share of the core's time that was neither the proxy's nor idle: other processes, or other guests."""
        elapsed = time.monotonic() - self._began[0]
        idle = idle_seconds(self._core) - self._began[1]
        return max(0.0, 1 - (idle + sum(self.spent().values())) / elapsed)


def idle_seconds(core: int) -> float:
    """How long a core has had nothing to do since the machine's start."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    return sum(map(int, line.split()[4:6])) / os.sysconf("SC_CLK_TCK")


def _processes(running: Running) -> list[int]:
    return [each.pid for each in family(running)]


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclass
class Bench:
    """Where a run lives: its directory, its processes, its cores."""

    directory: Path
    stage: Stage
    cores: Cores
    _started: int = 0

    @staticmethod
    @contextmanager
    def opened(directory: Path) -> Iterator[Bench]:
        """This process, and with it all that it starts without a core of its own, leaves the proxy's core alone."""
        cores, before = Cores.of_this_machine(), os.sched_getaffinity(0)
        environment = os.environ | {"UNDERSTUDY_UNIT_KEY": secrets.token_hex(32), "PYTHONUNBUFFERED": "1"}
        os.sched_setaffinity(0, cores.load)
        try:
            with Stage(directory / "logs", environment) as stage:
                yield Bench(directory, stage, cores)
        finally:
            os.sched_setaffinity(0, before)

    def place(self, name: str) -> Path:
        """A new directory."""
        self._started += 1
        place = self.directory / f"{name}-{self._started}"
        place.mkdir(parents=True)
        return place

    def start(
        self, name: str, command: Sequence[str | Path], ready: Callable[[], bool], pinned: bool = False
    ) -> Running:
        """Start a process on the load's cores, or `pinned` to the proxy's."""
        core = ("taskset", "-c", str(self.cores.proxy)) if pinned else ()
        return self.stage.start(name, [*core, *map(str, command)], ready, seconds=30)

    @contextmanager
    def started(
        self, name: str, command: Sequence[str | Path], ready: Callable[[], bool], pinned: bool = False
    ) -> Iterator[Running]:
        """`start`, and stop at the end of the block."""
        running = self.start(name, command, ready, pinned)
        try:
            yield running
        finally:
            # Already stopped, when the bench itself is being left.
            with suppress(KeyError):
                self.stage.stop(name)


def listens(port: int) -> Callable[[], bool]:
    """Ready when the port accepts."""
    return lambda: accepts(HOST, port)
