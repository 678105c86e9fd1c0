"""A real Redis, started by our own command."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from bentos.bundle import Bundle, load_bundle
from shadow.processes import Running, Stage, accepts
from shadow.rehearsal import command
from tests.bentos.bundles import synthetic_bundle
from tests.ports import free_port


class RedisServer:
    """One server that a test may stop, freeze and start again."""

    def __init__(self, stage: Stage, directory: Path) -> None:
        self._stage = stage
        self._directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> Running:
        arguments = command("redis", "--port", str(self.port), "--dir", self._directory, *options)
        return self._stage.start("redis", arguments, lambda: accepts("127.0.0.1", self.port))

    def stop(self) -> None:
        self._stage.stop("redis")

    def kill(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        self.stop()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While it is, it neither answers nor ends; its connections stay open."""
        with redis.Redis.from_url(self.url) as client:
            process = client.info("server")["process_id"]
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own."""
    with Stage(tmp_path / "logs", dict(os.environ)) as stage:
        server = RedisServer(stage, tmp_path / "redis")
        server.start()
        yield server


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that no test stops or configures."""
    directory = tmp_path_factory.mktemp("redis")
    with Stage(directory / "logs", dict(os.environ)) as stage:
        server = RedisServer(stage, directory)
        server.start()
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(shared_redis.url) as client:
        client.flushall()
    return shared_redis.url


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Fifty users of eight dimensions; two hashes in Redis."""
    synthetic_bundle(tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle")


@pytest.fixture
def second(tmp_path: Path) -> Bundle:
    """Another version, of the same users and two more."""
    synthetic_bundle(tmp_path / "second", name="challenger", users=52, seed=2)
    return load_bundle(tmp_path / "second")
