"""Bentos of made-up bundles, built and served by the real commands, without a package index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shadow.processes import Running, Stage, accepts, answers
from shadow.rehearsal import HOST, command
from tests.ports import free_port

PATIENCE_MS = "2000"
"""How long features may take while other tests have the cores."""


def environment(home: Path) -> dict[str, str]:
    """No package index: building and serving need nothing that is not installed."""
    offline = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "UV_OFFLINE": "1"}
    return os.environ | offline | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONUNBUFFERED": "1"}


def build(bundle: Path, home: Path) -> str:
    """The tag of the bento of `bundle`, now in the store at `home`."""
    with Stage(home.parent / "logs", environment(home)) as stage:
        done = stage.start(f"build {bundle.name}", command("bento", "build", bundle), lambda: True)
        assert done.process.wait(120) == 0, done.tail()
        return done.tail(1)


@dataclass
class Served:
    """One server of a bento."""

    tag: str
    port: int
    running: Running
    redis: Running
    redis_url: str

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@contextmanager
def served(tag: str, home: Path, *options: str, **variables: str) -> Iterator[Served]:
    """`understudy serve TAG OPTIONS…` and a Redis of its own, ready, with `variables` in the environment."""
    port, redis_port = free_port(), free_port()
    redis_url = f"redis://{HOST}:{redis_port}/0"
    # BentoML keeps sockets and state below its home: a path of its own for each server.
    with Stage(home.parent / f"logs-{port}", environment(home) | variables) as stage:
        redis = stage.start(
            "redis",
            command("redis", "--port", str(redis_port), "--dir", home.parent / f"redis-{port}"),
            lambda: accepts(HOST, redis_port),
        )
        arguments = ("--port", str(port), "--redis", redis_url, "--feature-deadline-ms", PATIENCE_MS, *options)
        running = stage.start(
            "bento", command("serve", tag, *arguments), lambda: answers(f"http://{HOST}:{port}/readyz"), seconds=90
        )
        yield Served(tag, port, running, redis, redis_url)
