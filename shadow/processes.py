"""Processes that a story starts and must stop again: free ports first, readiness by asking, an orderly end always.

`Stage` owns every background process of a run. Leaving its `with` block stops them in the reverse order of their
start, whatever the reason for leaving; each gets SIGTERM and a deadline, and then its whole group is killed.
Next module: `shadow.demo`, which tells the story.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

STOP_SECONDS: Final = 20.0
"""How long a process may take to end after SIGTERM: longer than the router's drain deadline (10 s)."""


class StepError(Exception):
    """A step of the story failed; the text names the step and what to do."""


def ensure_ports_free(ports: Iterable[tuple[str, int]], host: str = "127.0.0.1") -> None:
    """Raise `StepError` that names every taken port, before any work is done.

    `ports` are pairs (what it is for, number). A port is free when it can be bound with SO_REUSEADDR, as the
    servers themselves bind it.
    """
    taken = [f"{port} ({purpose})" for purpose, port in ports if not _is_free(host, port)]
    if taken:
        raise StepError(f"port in use on {host}: {', '.join(taken)}. Stop what uses it, or choose others with --port.")


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def answers(url: str, timeout: float = 1.0) -> bool:
    """Whether `url` answers 200 within `timeout` seconds."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            return int(response.status) == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def accepts(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether something accepts TCP connections at `host`:`port`."""
    try:
        with socket.create_connection((host, port), timeout=timeout):
            return True
    except OSError:
        return False


def interrupt(process: subprocess.Popen[str], seconds: float = STOP_SECONDS) -> None:
    """End a step in the foreground: SIGTERM, a deadline, then SIGKILL.

    A terminal's Ctrl-C has reached it already; it then cleans up and does not mind the SIGTERM (`shadow.cli.stop`).
    """
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Running:
    """One background process: its name in messages, its process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    _kin: list[psutil.Process] = field(default_factory=list)
    """Its family when it was first told to stop: a second attempt may find it dead and them adopted."""

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log, for an error message."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def family(self) -> list[psutil.Process]:
        """Its child processes and theirs, now."""
        try:
            return list(psutil.Process(self.process.pid).children(recursive=True))
        except psutil.Error:
            return []

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, wait up to `seconds`, then kill the group. Returns the exit code (negative: killed by a signal).

        May be called again when it was interrupted.
        """
        self._kin += self.family()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        # A server that died badly must not leave its workers on the port; BentoML's are in groups of their own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for each in self._kin:
            with contextlib.suppress(psutil.Error):
                each.kill()
        return self.process.wait()


@dataclass
class Stage:
    """The background processes of one run, stopped in reverse order at the end of the `with` block."""

    logs: Path
    environment: dict[str, str]
    running: list[Running] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], ready: Callable[[], bool], seconds: float = 60.0) -> Running:
        """Start `command` and wait until `ready()`; raise `StepError` with the log's end when it is not in time."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        started = Running(name, process, log)
        self.running.append(started)
        deadline = time.monotonic() + seconds
        while not ready():
            if process.poll() is not None:
                raise StepError(f"{name} ended with code {process.returncode} before it was ready:\n{started.tail()}")
            if time.monotonic() > deadline:
                raise StepError(f"{name} was not ready within {seconds:.0f} s:\n{started.tail()}")
            time.sleep(0.05)
        return started

    def stop(self, name: str) -> int:
        """Stop the process of that name now; returns its exit code."""
        for position, candidate in enumerate(self.running):
            if candidate.name == name:
                code = candidate.stop()
                del self.running[position]
                return code
        raise KeyError(name)

    def ensure_alive(self) -> None:
        """Raise `StepError` when one of them has ended by itself."""
        for candidate in self.running:
            if candidate.process.poll() is not None:
                raise StepError(f"{candidate.name} ended with code {candidate.process.returncode}:\n{candidate.tail()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A signal may arrive in here and raise: the stopping goes on, and only then does it take its effect.
        interruption: BaseException | None = None
        while self.running:
            try:
                self.running[-1].stop()
            except BaseException as raised:
                interruption = interruption or raised
                with contextlib.suppress(Exception):
                    self.running[-1].stop()
            self.running.pop()
        if interruption is not None:
            raise interruption
