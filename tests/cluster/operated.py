"""A namespace with the operator, installed by the charts as `make kind-up` does it, and what is declared there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from k8s.local import charts
from shadow.controller.parts import Version
from tests.cluster.kind_cluster import Stand, until

OPERATOR = f"deployment/{charts.RELEASE}-operator"


def install(stand: Stand) -> None:
    """Both charts, with the images of the cluster."""
    charts.install(stand.kind.cluster, stand.namespace, stand.kind.control, stand.kind.router)


@contextmanager
def operating(stand: Stand) -> Iterator[Stand]:
    """With the operator for the length of the block; there is no resource afterwards."""
    install(stand)
    try:
        yield stand
    finally:
        # With its finalizer a resource waits for an operator, and its namespace with it.
        if stand.kubectl("get", "sd", "--output=name"):
            stand.kubectl("scale", OPERATOR, "--replicas=1")
            stand.kubectl("delete", "sd", "--all", "--timeout=90s")


@pytest.fixture(scope="module")
def operated(shared_stand: Stand) -> Iterator[Stand]:
    """One for the tests of a module."""
    with operating(shared_stand) as stand:
        yield stand


def declared(stand: Stand, model: Version, **spec: Any) -> None:
    """Somebody applies the resource; returns when the operator has seen it."""
    stand.kubectl("apply", "--filename", "-", stdin=json.dumps(stand.document(model, **spec)))
    until(lambda: _seen(stand), 120, "the operator has seen what is declared")


def _seen(stand: Stand) -> bool:
    found = stand.read("sd", "recommender")
    return bool(found.get("status", {}).get("observedGeneration", 0) == found["metadata"]["generation"])


def condition(stand: Stand, name: str) -> None:
    """Wait until it is true."""
    stand.kubectl("wait", "sd/recommender", f"--for=condition={name}", "--timeout=240s", seconds=250)


def pods_of_primary(stand: Stand) -> set[str]:
    """Their uids."""
    return {pod["metadata"]["uid"] for pod in stand.pods("primary")}
