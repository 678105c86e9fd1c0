"""An operator that is killed at any moment: the next one comes to the same end, and no number is given twice."""

from __future__ import annotations

import multiprocessing
import random
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shadow.controller.children import children
from shadow.controller.names import HASH_ANNOTATION
from shadow.controller.objects import ref_of
from shadow.controller.parts import Version
from shadow.controller.resource import Serving, ServingArm, convert
from shadow.processes import answers
from tests.cluster.api_server import ApiServer
from tests.cluster.operators import (
    RunningOperator,
    environment_of,
    install_crd,
    operate,
    operator_account,
    until,
)
from tests.shadow.controller.resources import CHALLENGER, CHAMPION, document

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.xdist_group("api-server")]
KILLS = 50
NEW = {"name": CHALLENGER.name, "bento": CHALLENGER.bento, "image": CHALLENGER.image}
OLD = {"name": CHAMPION.name, "bento": CHAMPION.bento, "image": CHAMPION.image}


class Person:
    """Who changes the resource, kills the operator, starts it again, and looks."""

    def __init__(self, server: ApiServer, namespace: str, logs: Path) -> None:
        headers = {"Authorization": f"Bearer {server.token}"}
        trust = ssl.create_default_context(cafile=server.certificate)
        self.client = httpx.Client(base_url=server.url, headers=headers, verify=trust, timeout=60)
        self.group = f"/apis/understudy.dev/v1alpha1/namespaces/{namespace}/shadowdeployments"
        self.lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/understudy-operator"
        self.deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self.namespace, self.config = namespace, operator_account(server, namespace)
        self.logs = logs
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["tests.cluster.operators"])
        self.process: Any = None

    def start(self) -> None:
        """An operator that has read all there is, and holds the lease: killed then, it is at work."""
        environment, _, observe = environment_of(self.namespace, self.config)
        self.process = self.processes.Process(target=operate, args=(environment, str(self.logs / "operator.log")))
        self.process.start()
        until(lambda: answers(f"http://127.0.0.1:{observe}/readyz"), 120)
        until(lambda: self.get(self.lease).get("spec", {}).get("holderIdentity"), 120)

    def kill(self) -> None:
        """SIGKILL. The lease is cleared: what is tested is the half-done work, not the twelve seconds of waiting."""
        self.process.kill()
        self.process.join()
        self.patch(self.lease, {"spec": {"holderIdentity": ""}})

    def create(self) -> None:
        body = document("recommender", self.namespace, model=OLD)
        assert self.client.post(self.group, json=body).status_code == 201

    def patch(self, path: str, body: Any) -> None:
        content = {"Content-Type": "application/merge-patch+json"}
        assert self.client.patch(path, json=body, headers=content).status_code in (200, 404)

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        return answer.json() if answer.status_code == 200 else {}


@pytest.fixture
def person(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Person]:
    install_crd(api_server)
    found = Person(api_server, namespace, tmp_path)
    yield found
    if found.process is not None:
        found.process.kill()
    found.client.close()


def test_an_operator_that_is_killed_at_any_moment_comes_to_the_same_end(person: Person, api_server: ApiServer) -> None:
    chance = random.Random(9)
    person.start()
    person.create()
    primary = f"{person.deployments}/recommender-primary"
    template = until(lambda: person.get(primary).get("spec", {}).get("template"))
    generations, reached = [], set()
    for number in range(KILLS):
        model = NEW if number % 2 == 0 else OLD
        person.patch(f"{person.group}/recommender", {"spec": {"model": model, "mirror": {"percent": number}}})
        time.sleep(chance.choice((0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2)))  # the moment of the kill
        person.kill()
        generations.append(person.get(f"{person.group}/recommender")["status"]["routers"]["generation"])
        reached.add(len(person.get(person.deployments)["items"]))
        assert person.get(primary)["spec"]["template"] == template
        person.start()
    running = RunningOperator(api_server, person.namespace, person.process, 0, 0)
    until(lambda: there(running) == wanted(running), 120)
    assert generations == sorted(generations)
    assert len(reached) > 1  # some of the kills came in the midst of it
    print(f"{KILLS} kills; {len(set(generations))} generations, always rising; Deployments left by a kill: {reached}")


def there(running: RunningOperator) -> dict[tuple[str, str], str]:
    """All children with the hash of what they were made from."""
    kinds = "deployments,services,configmaps,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers"
    return {
        (each["kind"], each["metadata"]["name"]): each["metadata"]["annotations"][HASH_ANNOTATION]
        for each in running.all(kinds)
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "understudy-operator"
    }


def wanted(running: RunningOperator) -> dict[tuple[str, str], str]:
    """What there should be, by the pure part."""
    resource, champion = convert(running.read("sd", "recommender")), Version(**OLD)
    arms: tuple[ServingArm, ...] = ()
    if resource.spec.model != champion:
        arms = (ServingArm("shadow", "shadow", resource.spec.model), ServingArm("control", "control", champion))
    made = children(resource, Serving(champion, arms), running.platform)
    return {ref_of(child).key: child["metadata"]["annotations"][HASH_ANNOTATION] for child in made}
