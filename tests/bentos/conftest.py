"""A real Redis, started by our own command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow.processes import Running, Stage, accepts
from shadow.rehearsal import command
from tests.ports import free_port


class RedisServer:
    """One server that a test may stop, freeze and start again."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self._stage = stage
        self._directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Running:
        arguments = command("redis", "--port", str(self.port), "--dir", self._directory)
        return self._stage.start("redis", arguments, lambda: accepts("127.0.0.1", self.port))

    def stop(self) -> None:
        self._stage.stop("redis")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with Stage(tmp_path / "logs", dict(os.environ)) as stage:
        server = RedisServer(stage, tmp_path / "redis")
        server.start()
        yield server
