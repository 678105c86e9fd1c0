"""The operator on the tests' API server: its account with its Role and nothing else, and the operator as a process."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from shadow.controller.api import Api, connected
from shadow.controller.cluster import Cluster
from shadow.controller.generated import CRD_FILE, ROOT
from shadow.controller.handlers import serve
from shadow.controller.kinds import rules
from shadow.controller.resource import Platform
from shadow.controller.settings import OperatorSettings
from shadow.processes import Running, Stage, answers
from shadow.rehearsal import command
from tests.cluster.api_server import ApiServer
from tests.ports import free_port
from tests.shadow.controller.resources import document

ACCOUNT = "understudy-operator"
ROUTER_IMAGE = "understudy-router:0.1.0"
CONTROL_URL = "http://understudy-operator.test:8710"
"""The same for every process: it is in the primary's pod template. No router runs here."""


def operator_account(server: ApiServer, namespace: str) -> Path:
    """A kubeconfig of a new account that has the operator's Role in `namespace`."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": ACCOUNT}}
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(role | {"rules": rules()}))
    token = server.account(namespace, ACCOUNT)
    bound = ("--role", ACCOUNT, "--serviceaccount", f"{namespace}:{ACCOUNT}")
    server.kubectl("create", "rolebinding", ACCOUNT, "-n", namespace, *bound)
    return server.kubeconfig(token, namespace)


@asynccontextmanager
async def cluster_of(server: ApiServer, namespace: str) -> AsyncIterator[tuple[Cluster, Api]]:
    """The namespace as the operator sees it."""
    async with await connected(operator_account(server, namespace)) as client:
        api = Api(client, 30.0, lambda: math.inf)
        yield Cluster(api, namespace), api


@dataclass(frozen=True)
class RunningOperator:
    """An `understudy operator` process in a namespace of the tests' API server."""

    server: ApiServer
    namespace: str
    process: Running
    control: int
    observe: int

    @property
    def platform(self) -> Platform:
        """What it was started with."""
        return Platform(router_image=ROUTER_IMAGE, control_url=CONTROL_URL)

    def create(self, name: str = "recommender", **spec: Any) -> None:
        """Somebody applies a ShadowDeployment."""
        text = json.dumps(document(name, self.namespace, **spec))
        self.server.kubectl("apply", "--server-side", "--field-manager", "person", "-f", "-", stdin=text)

    def patch(self, name: str = "recommender", **spec: Any) -> None:
        """Somebody changes it."""
        self.server.kubectl(
            "-n", self.namespace, "patch", "sd", name, "--type", "merge", "-p", json.dumps({"spec": spec})
        )

    def read(self, kind: str, name: str) -> Any:
        """An object, None when there is none."""
        done = self.server.try_kubectl("-n", self.namespace, "get", kind, name, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def all(self, kinds: str) -> list[Any]:
        """All objects of these kinds."""
        items: list[Any] = self.server.read(kinds, "-n", self.namespace)["items"]
        return items

    def metrics(self) -> dict[str, float]:
        """What the operator counts."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.observe}/metrics", timeout=10) as response:
            families = text_string_to_metric_families(response.read().decode())
        found: dict[str, float] = {}
        for family in families:
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def pods_ready(self, name: str) -> None:
        """What the Deployment's controller would say once all pods are ready."""
        found = self.read("deployment", name)
        number = found["spec"].get("replicas", 1)
        status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), number)
        body = json.dumps({"status": status | {"observedGeneration": found["metadata"]["generation"]}})
        command = ("patch", "deployment", name, "--subresource", "status", "--type", "merge", "-p", body)
        self.server.kubectl("-n", self.namespace, *command)


def until(condition: Callable[[], Any], seconds: float = 45.0) -> Any:
    """What it gave when it was true: generous, but before the operator lists all there is, so a watch told it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found


def install_crd(server: ApiServer) -> None:
    """The resource's definition, established."""
    server.kubectl("apply", "--server-side", "-f", str(ROOT / CRD_FILE))
    server.kubectl("wait", "--for", "condition=established", "crd/shadowdeployments.understudy.dev", "--timeout", "60s")


def start_operator(server: ApiServer, namespace: str, stage: Stage, config: Path, name: str = "one") -> RunningOperator:
    """A process that is ready; it may be the second one, and wait."""
    environment, control, observe = environment_of(namespace, config, name)
    stage.environment |= environment
    ready = f"http://127.0.0.1:{observe}/readyz"
    process = stage.start(name, command("operator"), lambda: answers(ready), 180.0)
    return RunningOperator(server, namespace, process, control, observe)


def operate(environment: dict[str, str], log: str) -> None:
    """An operator in a process that was forked with all modules loaded: `understudy operator` without its start."""
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    asyncio.run(serve(OperatorSettings.load(environment)))


def environment_of(namespace: str, config: Path, name: str = "one") -> tuple[dict[str, str], int, int]:
    """What an operator is started with, its control port and its port for metrics."""
    control, observe = free_port(), free_port()
    found = {
        "KUBECONFIG": str(config),
        "POD_NAME": name,
        "UNDERSTUDY_OPERATOR_NAMESPACE": namespace,
        "UNDERSTUDY_OPERATOR_ROUTER_IMAGE": ROUTER_IMAGE,
        "UNDERSTUDY_OPERATOR_CONTROL_URL": CONTROL_URL,
        "UNDERSTUDY_OPERATOR_CONTROL": f"127.0.0.1:{control}",
        "UNDERSTUDY_OPERATOR_OBSERVE": f"127.0.0.1:{observe}",
    }
    return found, control, observe
