"""Production changes under load, and no request fails: the client keeps some connections, and never retries."""

from __future__ import annotations

import pytest

from tests.cluster.kind_cluster import Stand, until
from tests.cluster.traffic import Traffic, pause

pytestmark = [pytest.mark.timeout(1_200), pytest.mark.xdist_group("kind")]


@pytest.fixture
def served(stand: Stand) -> Stand:
    """Primary, shadow and control, ready, with a way to them."""
    stand.play("shadow", "control")
    stand.open()
    stand.ready("primary", "shadow", "control")
    return stand


def test_a_rolling_update_of_the_primary_fails_no_request(served: Stand) -> None:
    with Traffic(served.kind.port) as traffic:
        pause(3)
        served.kubectl("rollout", "restart", "deployment/recommender-primary")
        served.ready("primary")
        # Those of before end only now; their last requests are part of it.
        until(lambda: len(served.pods("primary")) == 2, 120, "the old pods are gone")
        pause(3)
    print(f"rolling update: {traffic.sent} requests")
    assert not traffic.failed, traffic.told()


def test_scaling_out_and_in_fails_no_request(served: Stand) -> None:
    with Traffic(served.kind.port) as traffic:
        pause(2)
        served.kubectl("scale", "deployment/recommender-primary", "--replicas=3")
        served.ready("primary")
        served.kubectl("scale", "deployment/recommender-primary", "--replicas=1")
        until(lambda: len(served.pods("primary")) == 1, 180, "two pods are gone")
        pause(2)
    print(f"out and in: {traffic.sent} requests")
    assert not traffic.failed, traffic.told()


def test_draining_a_node_fails_no_request(served: Stand) -> None:
    cluster = served.kind.cluster
    worker = f"{cluster.name}-worker"
    on_worker = [pod for pod in served.pods("primary") if pod["spec"]["nodeName"] == worker]
    assert on_worker, "the pods are spread over both nodes"
    try:
        with Traffic(served.kind.port) as traffic:
            pause(2)
            selector = "app.kubernetes.io/name=understudy"
            drain = ("drain", worker, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector", selector)
            cluster.kubectl(*drain, "--timeout=240s", seconds=260)
            served.ready("primary")
            pause(2)
    finally:
        cluster.kubectl("uncordon", worker)
    print(f"node drain: {traffic.sent} requests")
    assert not traffic.failed, traffic.told()
