"""A set on free ports, with the real processes of a laptop: Redis, three bentos, router and shipper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow.processes import Stage
from shadow.rehearsal import Ports, Rehearsal
from shadow.settings import child_environment
from tests.ports import free_port


def free_ports() -> Ports:
    """A base from which all ports of a set are free."""
    return Ports(free_port(tuple(port for _, port in Ports(0).all())))


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """An empty set; everything started on it is stopped at the end of the module."""
    directory: Path = tmp_path_factory.mktemp("set")
    with (
        Stage(directory / "logs", child_environment(directory)) as stage,
        Rehearsal(directory, free_ports(), stage, lambda line: None) as rehearsal,
    ):
        yield rehearsal
