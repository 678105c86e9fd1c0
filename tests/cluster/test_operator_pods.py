"""The charts on a cluster: the operator makes a declared state real, and is not missed while away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from k8s.local import charts
from shadow.controller.parts import Version
from tests.cluster.kind_cluster import Stand, until
from tests.cluster.traffic import Traffic, pause

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.xdist_group("kind")]
OPERATOR = f"deployment/{charts.RELEASE}-operator"


@pytest.fixture
def operated(stand: Stand) -> Iterator[Stand]:
    """A namespace with the operator."""
    charts.install(stand.kind.cluster, stand.namespace, stand.kind.control, stand.kind.router)
    yield stand
    # With its finalizer a resource waits for an operator, and its namespace with it.
    stand.kubectl("scale", OPERATOR, "--replicas=1")
    stand.kubectl("delete", "sd", "--all", "--ignore-not-found", "--timeout=90s")


def declared(stand: Stand, model: Version, **spec: Any) -> None:
    stand.kubectl("apply", "--filename", "-", stdin=json.dumps(stand.document(model, **spec)))


def condition(stand: Stand, name: str) -> None:
    stand.kubectl("wait", "sd/recommender", f"--for=condition={name}", "--timeout=240s", seconds=250)


def test_a_declared_state_becomes_real_and_stays_so_without_its_operator(operated: Stand) -> None:
    stand = operated
    stand.kind.cluster.helm("test", charts.RELEASE, "--namespace", stand.namespace)
    declared(stand, stand.kind.champion)
    condition(stand, "Ready")
    stand.open()
    before = {pod["metadata"]["uid"] for pod in stand.pods("primary")}

    # A changed model becomes the shadow; what serves stays, pod by pod.
    declared(stand, stand.kind.challenger)
    condition(stand, "ShadowReady")
    assert {pod["metadata"]["uid"] for pod in stand.pods("primary")} == before
    status = stand.read("sd", "recommender")["status"]
    assert status["primary"]["bento"] == stand.kind.champion.bento
    assert status["shadow"]["bento"] == stand.kind.challenger.bento
    with Traffic(stand.kind.port) as traffic:
        pause(5)
        copied = until(lambda: sum(each.arms["shadow"].received for each in stand.counters()), 30, "copies are made")
        stand.kubectl(
            "delete", "pod", "--selector", "app.kubernetes.io/component=operator", "--grace-period=0", "--force"
        )
        pause(5)
        stand.kubectl("rollout", "status", OPERATOR, "--timeout=120s")
    assert not traffic.failed, traffic.told()
    assert copied
    assert {pod["metadata"]["uid"] for pod in stand.pods("primary")} == before


def test_a_pod_that_starts_while_the_operator_is_away_serves_and_copies_nothing(operated: Stand) -> None:
    stand = operated
    declared(stand, stand.kind.champion, replicas=1)
    condition(stand, "Ready")
    stand.kubectl("scale", OPERATOR, "--replicas=0")
    until(lambda: not stand.read("pods", "-l", "app.kubernetes.io/component=operator")["items"], 60, "it is away")
    stand.kubectl("scale", "deployment/recommender-primary", "--replicas=2")
    stand.ready("primary")
    stand.open()
    with Traffic(stand.kind.port) as traffic:
        pause(4)
    assert not traffic.failed, traffic.told()
    stand.kubectl("scale", OPERATOR, "--replicas=1")
