"""What the operator leaves alone: what a person undid, and the number of pods that an autoscaler sets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.kind_cluster import Stand, until
from tests.cluster.operated import condition, declared, pods_of_primary
from tests.cluster.operated import operated as operated
from tests.cluster.traffic import Traffic, pause

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.xdist_group("kind")]
PRIMARY = "deployment/recommender-primary"


def template(stand: Stand) -> Any:
    """The primary's."""
    return stand.read(PRIMARY)["spec"]["template"]


def serving(stand: Stand) -> int:
    """Pods of the primary that are ready and do not end."""
    return sum(
        "deletionTimestamp" not in pod["metadata"]
        and any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))
        for pod in stand.pods("primary")
    )


def looked_again(stand: Stand, **spec: Any) -> None:
    """Declare twice what has nothing to do with pods; returns when the operator has applied all children since.

    Policies come first: once the second one is there, all that follows on the first one has been done.
    """
    for port in (4317, 4318):
        a_way(stand, port, **spec)


def a_way(stand: Stand, port: int, **spec: Any) -> None:
    """Declare one more way out of the pods, and wait until it is open."""
    network = stand.document(stand.kind.champion)["spec"]["network"]
    declared(stand, stand.kind.champion, network=network | {"otlp": {"port": port}}, **spec)
    policy = ("networkpolicy/recommender-primary", "--output=jsonpath={.spec.egress[*].ports[*].port}")
    until(lambda: str(port) in stand.kubectl("get", *policy).split(), 120, "the policy is applied")


def test_an_undo_by_a_person_is_not_fought_over_until_it_is_given_back(operated: Stand) -> None:
    stand = operated
    declared(stand, stand.kind.champion, replicas=1)
    condition(stand, "Ready")
    before = template(stand)
    declared(stand, stand.kind.champion, replicas=1, startupSeconds=150)
    until(lambda: template(stand) != before, 120, "the operator rolls the primary")
    wanted = template(stand)
    stand.ready("primary")

    stand.kubectl("rollout", "undo", PRIMARY)
    undone = template(stand)
    assert undone["spec"] == before["spec"] != wanted["spec"]
    stand.ready("primary")
    until(lambda: progress(stand).startswith("Deployment recommender-primary:"), 120, "the status says who keeps it")
    generation, pods = stand.read(PRIMARY)["metadata"]["generation"], pods_of_primary(stand)
    looked_again(stand, replicas=1, startupSeconds=150)
    assert (stand.read(PRIMARY)["metadata"]["generation"], template(stand)) == (generation, undone)
    assert pods & pods_of_primary(stand)

    stand.kubectl("annotate", PRIMARY, "understudy.dev/take-back=yes")
    until(lambda: template(stand)["spec"] == wanted["spec"], 120, "it is the operator's again")
    stand.ready("primary")


def progress(stand: Stand) -> str:
    """What the operator says of its own doing."""
    conditions = stand.read("sd", "recommender")["status"]["conditions"]
    return next(str(each["message"]) for each in conditions if each["type"] == "Progressing")


def test_an_autoscaler_goes_out_and_in_under_load_no_request_fails_and_its_replicas_stay_its_own(
    metrics_server: None, operated: Stand
) -> None:
    """In, too, while the load goes on: the aim is put up to what one pod may take."""
    stand = operated
    scaling = {"minReplicas": 1, "maxReplicas": 2, "cpuPercent": 60, "scaleDownSeconds": 0}
    declared(stand, stand.kind.champion, autoscaling=scaling)
    condition(stand, "Ready")
    stand.open()
    until(lambda: len(stand.read("hpa/recommender-primary")["status"].get("currentMetrics") or ()) == 2, 180, "CPU")
    until(lambda: len(stand.pods("primary")) == 1, 240, "one pod serves")
    with Traffic(stand.kind.port) as traffic:
        until(lambda: serving(stand) == 2, 300, "the autoscaler goes out")
        looked_again(stand, autoscaling=scaling)
        deployment = stand.read(PRIMARY, "--show-managed-fields")
        assert deployment["spec"]["replicas"] == 2
        assert {each["manager"] for each in deployment["metadata"]["managedFields"] if sets_replicas(each)} == {
            "kube-controller-manager"
        }
        pause(3)
        declared(stand, stand.kind.champion, autoscaling=scaling | {"cpuPercent": 400})
        until(lambda: len(stand.pods("primary")) == 1, 300, "the autoscaler goes in")
        pause(3)
    print(f"autoscaler out and in: {traffic.sent} requests")
    assert not traffic.failed, traffic.told()


def sets_replicas(managed: Any) -> bool:
    """Whether this manager is responsible for the number of pods."""
    return "f:replicas" in managed["fieldsV1"].get("f:spec", {})
