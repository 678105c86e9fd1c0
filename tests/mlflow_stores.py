"""MLflow stores for tests: empty ones on sqlite, and a real server over one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bentos.registry import MODEL, Registry
from bentos.settings import RegistrySettings
from tests.ports import free_port
from training.local_registry import Handlers

SERVER_SECONDS = 120


def uri_of(directory: Path) -> str:
    """The sqlite store in `directory`."""
    return f"sqlite:///{directory / 'mlflow.db'}"


def copied(template: Path, directory: Path) -> str:
    """A store of its own in `directory`: the first migration takes seconds, a copy of its file none."""
    shutil.copy(template, directory / "mlflow.db")
    return uri_of(directory)


def opened(uri: str) -> Registry:
    """The registry of a store, its schema being there."""
    return Registry(uri, RegistrySettings.load({}), Handlers(uri))


async def add_versions(registry: Registry, count: int) -> None:
    """Register `count` versions; number N has the bundle version 100 + N in 12 digits."""
    await registry.ensure_model(MODEL)
    for _ in range(count):
        number = len(await registry.versions()) + 1
        bundle = f"{100 + number:012d}"
        tags = {"bundle_version": bundle, "bento": f"m:{bundle}"}
        await registry.create_version(MODEL, "mlflow-artifacts-of-a-test:/bundle", tags)


@contextmanager
def server(directory: Path, uri: str) -> Iterator[str]:
    """A real MLflow server over `uri` with two workers; its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", uri, "--artifacts-destination", str(directory / "artifacts")]
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }
    address = f"http://127.0.0.1:{port}"
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
        try:
            _wait(address, process, directory / "server.log")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}/health", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"no MLflow server at {address}:\n{log.read_text()[-2_000:]}")
