"""Docker, and an API server, for tests that need them: skipped where there is none, but not in CI on a machine that
provides them."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests import ci_machine
from tests.cluster.api_server import api_server as api_server
from tests.cluster.api_server import namespace as namespace
from tests.cluster.kind_cluster import kind as kind
from tests.cluster.kind_cluster import shared_stand as shared_stand
from tests.cluster.kind_cluster import stand as stand
from tests.cluster.metrics_server import metrics_server as metrics_server
from tests.helm.conftest import run as run

NEEDED = ("python:3.11-slim", "redis:7-bookworm")


def docker(*arguments: str, seconds: float = 60, check: bool = True) -> str:
    """The output of a docker command."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds)
    assert not check or done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).strip()


@pytest.fixture(scope="session")
def tools() -> None:
    """What CI's machine can install, installed there; by one worker after the other."""
    if ci_machine.provides():
        with (Path(tempfile.gettempdir()) / "understudy-tools.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run([ci_machine.TOOLS, "images"], check=True, timeout=900)


@pytest.fixture(scope="session")
def docker_there(tools: None) -> None:
    """Docker and the images that tests start from."""
    reason = "" if shutil.which("docker") else "there is no docker command"
    if not reason and subprocess.run(["docker", "info"], capture_output=True, timeout=60).returncode != 0:
        reason = "the docker daemon does not answer"
    if not reason:
        missing = [name for name in NEEDED if not docker("image", "ls", "--quiet", name)]
        if missing and ci_machine.TOOLS.exists():
            reason = f"images are missing: {', '.join(missing)} ({ci_machine.TOOLS.name} images)"
    if reason and ci_machine.provides():
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
