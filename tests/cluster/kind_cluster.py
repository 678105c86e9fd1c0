"""One kind cluster for all tests of a run, with our images on its nodes; a namespace for each test.

Made by the modules of `make kind-up` (`k8s.local`). UNDERSTUDY_TEST_CLUSTER=keep leaves cluster and
images for the next run.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from k8s.local.cluster import CONFIG, Cluster
from k8s.local.commands import load_features, log_readable, understudy
from k8s.local.development import apply_parts, ensure_secrets
from k8s.local.images import STAND_INS, bento, built, present
from k8s.local.settings import node_image
from shadow.accounting import RouterCounts
from shadow.controller.children import children
from shadow.controller.parts import Version
from shadow.controller.resource import Platform, Serving, ServingArm, convert
from tests.bentos.bundles import synthetic_bundle
from tests.cluster.traffic import HOST
from tests.ports import free_port

NAME: Final = "understudy-test"
NODE_PORT: Final = 30080
TAKEN: Final = 8
"""Connections in a row that must reach a router, so that every node and every pod is likely to have had one."""
MODELS: Final = ("champion", "challenger")
KEPT: Final = os.environ.get("UNDERSTUDY_TEST_CLUSTER") == "keep"
STORE: Final = {"destination": "s3://pairs/recommender", "endpoint": "http://store:7070", "region": "us-east-1"}


@dataclass(frozen=True)
class Kind:
    """The cluster and what stands on its nodes."""

    cluster: Cluster
    port: int
    """Of this machine; it leads to NODE_PORT."""
    router: str
    control: str
    champion: Version
    challenger: Version
    bundles: dict[str, Path] = field(repr=False)


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `condition` says once it is true; it is asked every half second."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not (told := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        pause.wait(0.5)
    return told


def takes(port: int) -> bool:
    """Whether a connection reaches a router, which waits for a request; docker's proxy takes any, and ends it then."""
    with socket.create_connection((HOST, port), 5) as connection:
        connection.settimeout(0.3)
        try:
            connection.recv(1)
        except TimeoutError:
            return True
        except OSError:
            return False
    return False


@pytest.fixture(scope="session")
def kind(docker_there: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    """The cluster; pods of two bentos made of a synthetic bundle each can run in it at once."""
    directory = Path("/tmp/understudy-test-cluster") if KEPT else tmp_path_factory.mktemp("kind")
    directory.mkdir(exist_ok=True)
    config, kubeconfig, notes = (directory / name for name in ("kind.yaml", "kubeconfig", "images.json"))
    cluster = Cluster(NAME, node_image(), config, str(kubeconfig))
    if not cluster.exists():
        document = yaml.safe_load(CONFIG.read_text())
        document["nodes"][0]["extraPortMappings"] = [
            {"listenAddress": HOST, "hostPort": free_port(), "containerPort": NODE_PORT}
        ]
        config.write_text(yaml.safe_dump(document))
        notes.unlink(missing_ok=True)  # of a cluster that is gone
    port = yaml.safe_load(config.read_text())["nodes"][0]["extraPortMappings"][0]["hostPort"]
    try:
        cluster.ensure()
        if not (KEPT and notes.exists()):
            notes.write_bytes(msgspec.json.encode(_images(cluster, directory)))
        images = msgspec.json.decode(notes.read_bytes(), type=tuple[str, str, Version, Version])
        yield Kind(cluster, port, *images, {name: directory / name for name in MODELS})
    finally:
        if not KEPT:
            cluster.delete()


def _images(cluster: Cluster, directory: Path) -> tuple[str, str, Version, Version]:
    """The images of router and control, and two bentos', on the nodes."""
    router, control, versions = built("router"), built("control"), []
    for seed, name in enumerate(MODELS, 1):
        if not (directory / name).exists():
            synthetic_bundle(directory / name, name=name, seed=seed)
        tag, image = bento(directory / name)
        versions.append(Version(name=name, bento=tag, image=image))
    cluster.load([router, control, *(each.image for each in versions), *map(present, STAND_INS[:2])])
    return router, control, versions[0], versions[1]


@dataclass
class Stand:
    """A namespace with Redis, a store and a recommender from `understudy render`'s children: no operator is needed."""

    kind: Kind
    namespace: str
    spec: dict[str, Any] = field(default_factory=dict)
    """What is said beyond the least, in camelCase."""

    def kubectl(self, *arguments: str, stdin: str = "", seconds: float = 120) -> str:
        return self.kind.cluster.kubectl("--namespace", self.namespace, *arguments, stdin=stdin, seconds=seconds)

    def read(self, *arguments: str) -> Any:
        """What `kubectl get … -o json` prints, decoded."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def document(self, model: Version, **spec: Any) -> dict[str, Any]:
        """The resource."""
        return {
            "apiVersion": "understudy.dev/v1alpha1",
            "kind": "ShadowDeployment",
            "metadata": {"name": "recommender", "namespace": self.namespace},
            "spec": {
                "model": {"name": model.name, "bento": model.bento, "image": model.image},
                "router": {"existingSecret": "understudy-router", "maxArms": 2, "queueSize": "8Mi"},
                "pairLog": {"existingSecret": "understudy-store", "segmentSeconds": 2, "spoolSize": "128Mi", **STORE},
                "features": {"existingSecret": "understudy-redis", "deadlineMilliseconds": 1_000},
                "network": {"redis": {"port": 6379}, "store": {"port": 7070}},
                "podTemplate": SMALL,
            }
            | self.spec
            | spec,
        }

    def play(self, *arms: str, model: Version | None = None, shadow: Version | None = None, **spec: Any) -> None:
        """Apply primary, Services, policies and the named arms (shadow, control)."""
        primary = model or self.kind.champion
        versions = {"shadow": shadow or self.kind.challenger, "control": primary}
        serving = Serving(
            primary, tuple(ServingArm(arm, "shadow" if arm == "shadow" else "control", versions[arm]) for arm in arms)
        )
        resource = convert(self.document(primary, **spec))
        self.kind.cluster.apply(children(resource, serving, Platform(self.kind.router)), self.namespace)

    def open(self) -> None:
        """Let the users' Service be reached from this machine; returns when it is."""
        ports = [{"name": "http", "port": 80, "targetPort": "users", "nodePort": NODE_PORT}]
        service = json.dumps({"spec": {"type": "NodePort", "ports": ports}})
        self.kubectl("patch", "service", "recommender", "--type", "merge", "--patch", service)
        until(lambda: all(takes(self.kind.port) for _ in range(TAKEN)), 60, "the Service is reached from here")

    def load_features(self) -> None:
        """Both bundles' vectors, through a port-forward."""
        load_features(self.kind.cluster, self.namespace, self.kind.bundles.values())

    def ready(self, *arms: str) -> None:
        """Wait until the newest pods of the arms are ready."""
        self.kind.cluster.rolled_out(self.namespace, *(f"recommender-{arm}" for arm in arms))

    def pods(self, arm: str) -> list[Any]:
        """The arm's pods."""
        pods: list[Any] = self.read("pods", "--selector", f"understudy.dev/arm={arm}")["items"]
        return pods

    def counters(self) -> list[RouterCounts]:
        """Of every router."""
        names = [pod["metadata"]["name"] for pod in self.pods("primary")]
        told = [self.kubectl("exec", name, "--container", "router", "--", "python", "-c", COUNTERS) for name in names]
        return [msgspec.json.decode(text, type=RouterCounts) for text in told]

    def stats(self) -> Any:
        """`understudy pairs stats` of the log in the store, by the account that may only read."""
        with log_readable(self.kind.cluster, self.namespace) as here:
            return json.loads(understudy("pairs", "stats", STORE["destination"], "--json", more=here))


COUNTERS: Final = """\
import os, urllib.request
told = {"Authorization": "Bearer " + os.environ["UNDERSTUDY_ADMIN_TOKEN"]}
asked = urllib.request.Request("http://127.0.0.1:8701/counters", headers=told)
print(urllib.request.urlopen(asked, timeout=10).read().decode())
"""
SMALL: Final = {
    "spec": {
        "containers": [
            {
                "name": "bento",
                "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
            }
        ]
    }
}
"""Several primaries, shadows and controls have to fit on two small nodes."""


@pytest.fixture
def stand(kind: Kind) -> Iterator[Stand]:
    """A namespace for one test."""
    with standing(kind) as stand:
        yield stand


@pytest.fixture(scope="module")
def shared_stand(kind: Kind) -> Iterator[Stand]:
    """A namespace for the tests of one module, which begin with what the one before has left."""
    with standing(kind) as stand:
        yield stand


@contextmanager
def standing(kind: Kind) -> Iterator[Stand]:
    """A new namespace with Secrets, Redis and the store, features loaded; removed in the background."""
    namespace = f"test-{secrets.token_hex(4)}"
    kind.cluster.kubectl("create", "namespace", namespace)
    try:
        ensure_secrets(kind.cluster, namespace)
        apply_parts(kind.cluster, namespace, "redis", "store")
        stand = Stand(kind, namespace)
        stand.load_features()
        yield stand
    finally:
        # Its port of the nodes is the next test's.
        kind.cluster.kubectl("--namespace", namespace, "delete", "service", "recommender", "--ignore-not-found")
        kind.cluster.kubectl("delete", "namespace", namespace, "--wait=false")
