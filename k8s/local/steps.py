"""Commands of others as steps: told before they run, bounded in time, and with a remedy when they fail.

Next module: `k8s.local.cluster`.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from k8s.local.settings import environment
from shadow.processes import StepError

REMEDIES: Final = {
    "docker": "install Docker (https://docs.docker.com/engine/install) and start it",
    "kind": "install kind (https://kind.sigs.k8s.io/docs/user/quick-start/#installation)",
    "kubectl": "install kubectl (https://kubernetes.io/docs/tasks/tools)",
    "helm": "install Helm (https://helm.sh/docs/intro/install)",
}
LAST_LINES: Final = 20


def run(
    *command: str,
    remedy: str,
    seconds: float = 120,
    stdin: str = "",
    told: bool = True,
    more: Mapping[str, str] | None = None,
) -> str:
    """What `command` prints, with `more` in its environment.

    `StepError` with its last lines and `remedy` when it fails or takes longer.
    """
    if told:
        say(f"$ {shlex.join(command)}")
    names = environment() | dict(more or {})
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False, env=names
        )
    except FileNotFoundError as error:
        raise StepError(f"{command[0]} is not on the PATH: {REMEDIES.get(command[0], remedy)}") from error
    except subprocess.TimeoutExpired as error:
        raise StepError(f"`{shlex.join(command)}` took longer than {seconds:.0f} s. {remedy}") from error
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise StepError(f"`{shlex.join(command)}` failed:\n{lines}\n{remedy}")
    return done.stdout


def say(line: str) -> None:
    """One line of progress, at once."""
    print(line, flush=True)


def ensure_tools(names: Sequence[str]) -> None:
    """`StepError` names every program that lacks, or says that Docker does not answer."""
    lacking = [f"{name}: {REMEDIES[name]}" for name in names if shutil.which(name) is None]
    if lacking:
        raise StepError("\n".join(f"not on the PATH: {each}" for each in lacking))
    run("docker", "info", remedy="Start Docker, or let this user use it.", seconds=30, told=False)


class Steps:
    """Headlines of the steps, with the seconds since the start."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.number = 0
        self.started = time.monotonic()

    def tell(self, title: str) -> None:
        """The next step begins."""
        self.number += 1
        say(f"\n[{self.number}/{self.count}] {title}  ({time.monotonic() - self.started:.0f} s)")


def failed(error: StepError) -> int:
    """Tell the error; the exit code."""
    print(f"\nerror: {error}", file=sys.stderr)
    return 1
