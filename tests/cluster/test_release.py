"""The charts' release goes and comes again: what is left is production, which the next release takes over."""

from __future__ import annotations

from typing import Any

import pytest

from k8s.local import charts
from tests.cluster.kind_cluster import Stand, until
from tests.cluster.operated import condition, declared, install, operating, pods_of_primary
from tests.cluster.traffic import Traffic, pause

pytestmark = [pytest.mark.timeout(1_500), pytest.mark.xdist_group("kind")]
DERIVED = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "pods.metrics.k8s.io"}
"""What Kubernetes makes of other objects, and takes away with them or in time."""
ORPHANS = {
    "deployments.apps/recommender-primary",
    "services/recommender",
    "configmaps/recommender-router",
    "networkpolicies.networking.k8s.io/recommender-primary",
    "poddisruptionbudgets.policy/recommender-primary",
}
"""What deletionPolicy Orphan leaves, beside the Deployment's ReplicaSets and pods."""


def test_resource_and_release_go_production_serves_and_the_next_release_adopts_it(stand: Stand) -> None:
    kind, clean = stand.kind, everything(stand)
    with operating(stand):
        declared(stand, kind.champion, replicas=1)
        condition(stand, "Ready")
        declared(stand, kind.challenger, replicas=1)
        condition(stand, "ShadowReady")
        stand.open()
        pods = pods_of_primary(stand)
        with Traffic(kind.port) as traffic:
            stand.kubectl("delete", "sd", "recommender", "--timeout=60s")
            uninstall(stand)
            until(lambda: everything(stand) - clean == ORPHANS, 120, "production is left, and nothing else")
            install(stand)
            declared(stand, kind.champion, replicas=1)
            condition(stand, "Ready")
            pause(3)
        assert not traffic.failed, traffic.told()
        assert pods_of_primary(stand) == pods
        assert stand.read("sd", "recommender")["status"]["primary"]["bento"] == kind.champion.bento

        declared(stand, kind.champion, replicas=1, deletionPolicy="Delete")
        stand.kubectl("delete", "sd", "recommender", "--timeout=60s")
        uninstall(stand)
        until(lambda: everything(stand) == clean, 90, "nothing is left")


def uninstall(stand: Stand) -> None:
    """The operator's release; the resource's definition is every namespace's."""
    stand.kind.cluster.helm("uninstall", charts.RELEASE, "--namespace", stand.namespace, "--wait")


def everything(stand: Stand) -> set[str]:
    """Kind and name of all that is in the namespace, whoever made it, but what follows from the rest."""
    listed = stand.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    kinds = ",".join(sorted(set(listed) - DERIVED))
    found = stand.read(kinds)["items"]
    return {named(each) for each in found if not each["metadata"].get("ownerReferences")}


def named(found: Any) -> str:
    """As `kubectl get -o name` has it, in the plural."""
    group, _, _ = found["apiVersion"].rpartition("/")
    kind = found["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    return f"{plural}{f'.{group}' if group else ''}/{found['metadata']['name']}"
