"""Who may reach whom, on a cluster that enforces NetworkPolicies: each way that is needed, and none of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.cluster.kind_cluster import Stand

pytestmark = [pytest.mark.timeout(1_200), pytest.mark.xdist_group("kind")]
TRIES = """\
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def reached(place):
    try:
        socket.create_connection(place[1:], 3).close()
        return True
    except OSError:
        return False

places = [tuple(each) for each in json.load(sys.stdin)]
with ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(dict(zip([place[0] for place in places], pool.map(reached, places)))))
"""
STRANGER = "stranger"
ALLOWED = {
    "primary": {"shadow", "shadow's pod", "control", "redis", "store"},
    "shadow": {"redis"},
    "control": {"redis"},
    # Users come to the Service; a pod without a policy of its own also to what is not ours.
    STRANGER: {"users", "API server"},
}


def places(pods: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """(name, address, port) of whatever could be asked; `pods` by arm."""
    address = {arm: pod["status"]["podIP"] for arm, pod in pods.items()}
    return [
        ("users", "recommender", 80),
        ("bento behind the router", address["primary"], 3000),
        ("router's metrics", address["primary"], 8702),
        ("router's admin port", address["primary"], 8701),
        ("shipper's metrics", address["primary"], 8703),
        ("shadow", "recommender-shadow", 3000),
        ("shadow's pod", address["shadow"], 3000),
        ("control", "recommender-control", 3000),
        ("redis", "redis", 6379),
        ("store", "store", 7070),
        ("API server", "kubernetes.default", 443),
    ]


def reached(stand: Stand, pod: str, container: str, asked: Sequence[tuple[str, str, int]]) -> set[str]:
    """The names of the places of `asked` that take a connection from there."""
    tried = ("exec", "--stdin", pod, "--container", container, "--", "python", "-c", TRIES)
    told = json.loads(stand.kubectl(*tried, stdin=json.dumps(asked)))
    return {name for name, got in told.items() if got}


def test_each_allowed_way_is_open_and_each_other_is_shut(stand: Stand) -> None:
    stand.play("shadow", "control", replicas=1)
    container = {
        "name": "it",
        "image": stand.kind.router,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", "import signal; signal.pause()"],
    }
    stranger = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": STRANGER}, "spec": {"containers": [container]}}
    stand.kind.cluster.apply([stranger], stand.namespace)
    stand.ready("primary", "shadow", "control")
    stand.kubectl("wait", "pod", STRANGER, "--for=condition=Ready", "--timeout=60s")
    pods = {arm: stand.pods(arm)[0] for arm in ("primary", "shadow", "control")}
    asked = places(pods)
    found = {arm: reached(stand, pod["metadata"]["name"], "bento", asked) for arm, pod in pods.items()}
    found[STRANGER] = reached(stand, STRANGER, "it", asked)
    # A pod reaches itself whatever a policy says: the shadow its own address, the primary its own ports.
    own = {
        "primary": {name for name, _, _ in asked if "router" in name or name == "shipper's metrics"},
        "shadow": {"shadow's pod", "shadow"},
        "control": {"control"},
    }
    # And every pod its own node, as Kubernetes says of policies: there the API server may be.
    for arm, pod in pods.items():
        if "control-plane" in pod["spec"]["nodeName"]:
            own[arm].add("API server")
    assert {name: got - own.get(name, set()) - {"users"} for name, got in found.items()} == {
        name: each - {"users"} for name, each in ALLOWED.items()
    }
    assert "users" in found[STRANGER]
    assert "users" not in found["shadow"] | found["control"]
