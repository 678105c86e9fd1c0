"""Who may reach whom, on a cluster that enforces NetworkPolicies: each way that is needed, and none of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.cluster.kind_cluster import Stand, until

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
LISTENS = """\
import socket, threading, time
for port in (5000, 4317, 9000):
    server = socket.create_server(("", port))
    threading.Thread(target=lambda server=server: [server.accept()[0].close() for _ in iter(int, 1)]).start()
"""
STRANGER, MONITOR, OUTSIDE = "stranger", "monitor", "outside"
"""Pods without a policy of their own: of nobody, of who may read metrics, of what bentos may ask where that is said."""
OPTIONS = {
    "registry": {"port": 5000, "to": [{"podSelector": {"matchLabels": {"role": OUTSIDE}}}]},
    "otlp": {"port": 4317, "to": [{"podSelector": {"matchLabels": {"role": OUTSIDE}}}]},
    "monitoring": [{"podSelector": {"matchLabels": {"role": MONITOR}}}],
}
OPTED = {"registry", "otlp"}
# Users come to the Service; a pod without a policy of its own also to what is not ours.
FREE = {"users", "API server", "registry", "otlp", "anything else"}
ALLOWED = {
    "primary": {"shadow", "shadow's pod", "control", "redis", "store"} | OPTED,
    "shadow": {"redis"} | OPTED,
    "control": {"redis"} | OPTED,
    STRANGER: FREE,
    MONITOR: FREE
    | {"bento behind the router", "router's metrics", "shipper's metrics", "shadow", "shadow's pod", "control"},
}


def places(pods: Mapping[str, Any], outside: str) -> list[tuple[str, str, int]]:
    """(name, address, port) of whatever could be asked; `pods` by arm, and the address of the pod that listens."""
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
        ("registry", outside, 5000),
        ("otlp", outside, 4317),
        ("anything else", outside, 9000),
    ]


def reached(stand: Stand, pod: str, container: str, asked: Sequence[tuple[str, str, int]]) -> set[str]:
    """The names of the places of `asked` that take a connection from there."""
    tried = ("exec", "--stdin", pod, "--container", container, "--", "python", "-c", TRIES)
    told = json.loads(stand.kubectl(*tried, stdin=json.dumps(asked)))
    return {name for name, got in told.items() if got}


def pod(stand: Stand, name: str, program: str) -> dict[str, Any]:
    """One that runs a program."""
    container = {
        "name": "it",
        "image": stand.kind.router,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", program],
    }
    metadata = {"name": name, "labels": {"role": name}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_each_allowed_way_is_open_and_each_other_is_shut(stand: Stand) -> None:
    network = stand.document(stand.kind.champion)["spec"]["network"]
    stand.play("shadow", "control", replicas=1, network=network | OPTIONS)
    waits = "import signal; signal.pause()"
    programs = {STRANGER: waits, MONITOR: waits, OUTSIDE: LISTENS}
    stand.kind.cluster.apply([pod(stand, *each) for each in programs.items()], stand.namespace)
    stand.ready("primary", "shadow", "control")
    stand.kubectl("wait", "pod", *programs, "--for=condition=Ready", "--timeout=60s")
    pods = {arm: stand.pods(arm)[0] for arm in ("primary", "shadow", "control")}
    asked = places(pods, stand.read("pod", OUTSIDE)["status"]["podIP"])
    found = {arm: reached(stand, each["metadata"]["name"], "bento", asked) for arm, each in pods.items()}
    found |= {name: reached(stand, name, "it", asked) for name in (STRANGER, MONITOR)}
    # A pod reaches itself whatever a policy says: the shadow its own address, the primary its own ports.
    own = {
        "primary": {name for name, _, _ in asked if "router" in name or name == "shipper's metrics"},
        "shadow": {"shadow's pod", "shadow"},
        "control": {"control"},
    }
    # And every pod its own node, as Kubernetes says of policies: there the API server may be.
    for arm, each in pods.items():
        if "control-plane" in each["spec"]["nodeName"]:
            own[arm].add("API server")
    assert {name: got - own.get(name, set()) - {"users"} for name, got in found.items()} == {
        name: each - {"users"} for name, each in ALLOWED.items()
    }
    assert "users" in found[STRANGER] & found[MONITOR]
    assert "users" not in found["shadow"] | found["control"]

    # What was an option is shut again where it is not asked for.
    stand.play("shadow", "control", replicas=1)
    shadow = pods["shadow"]["metadata"]["name"]
    until(lambda: not reached(stand, shadow, "bento", asked) & OPTED, 120, "MLflow and OTLP are shut")
    until(lambda: reached(stand, MONITOR, "it", asked) == FREE, 120, "metrics are shut")
