"""A set on free ports, with the real processes of a laptop: Redis, three bentos, router and shipper."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shadow.processes import Stage
from shadow.rehearsal import Ports, Rehearsal
from shadow.settings import child_environment


def free_ports() -> Ports:
    """A base from which all ports of a set are free now."""
    for _ in range(100):
        with ExitStack() as held:
            probe = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports = Ports(probe.getsockname()[1] + 1)
            try:
                for _, number in ports.all():
                    held.enter_context(socket.create_server(("127.0.0.1", number)))
            except (OSError, OverflowError):
                continue
            return ports
    raise RuntimeError("no free range of ports found")


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """An empty set; everything started on it is stopped at the end of the module."""
    directory: Path = tmp_path_factory.mktemp("set")
    with (
        Stage(directory / "logs", child_environment(directory)) as stage,
        Rehearsal(directory, free_ports(), stage, lambda line: None) as rehearsal,
    ):
        yield rehearsal
