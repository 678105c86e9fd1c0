"""Twenty resources at once: how long it takes and how many calls, busy and idle. Printed with -s."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow.controller.children import children
from shadow.controller.names import HASH_ANNOTATION
from shadow.controller.objects import ref_of
from shadow.controller.resource import Serving, convert
from shadow.processes import Stage
from tests.cluster.api_server import ApiServer
from tests.cluster.operators import RunningOperator, install_crd, operator_account, start_operator, until
from tests.shadow.controller.resources import CHALLENGER, CHAMPION

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("api-server")]
RESOURCES = 20
NEW = {"name": CHALLENGER.name, "bento": CHALLENGER.bento, "image": CHALLENGER.image}
OLD = {"name": CHAMPION.name, "bento": CHAMPION.bento, "image": CHAMPION.image}
KINDS = "deployments,services,configmaps,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers"
MOST_IDLE_CALLS = 60
"""A minute: 30 of the lease, 7 of a list, and some watches that are opened anew."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path / "logs", dict(os.environ)) as stage:
        yield stage


def calls(server: ApiServer, namespace: str, since: str = "") -> Counter[str]:
    """What the operator asked the API server for since then, by verb: kopf's calls included."""
    account = f"system:serviceaccount:{namespace}:understudy-operator"
    return Counter(
        entry["verb"]
        for entry in server.audited()
        if entry["user"]["username"] == account and entry["requestReceivedTimestamp"] > since
        if entry["stage"] in ("ResponseStarted", "ResponseComplete")
        if not (entry["verb"] == "watch" and entry["stage"] == "ResponseComplete")
    )


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".999999Z"


def there(running: RunningOperator) -> dict[tuple[str, str], str]:
    """All children with the hash of what they were made from."""
    return {
        (each["kind"], each["metadata"]["name"]): each["metadata"]["annotations"][HASH_ANNOTATION]
        for each in running.all(KINDS)
        if each["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "understudy-operator"
    }


def test_twenty_resources_settle_and_an_idle_operator_hardly_asks(
    api_server: ApiServer, namespace: str, stage: Stage
) -> None:
    install_crd(api_server)
    running = start_operator(api_server, namespace, stage, operator_account(api_server, namespace))
    since, started = now(), time.monotonic()
    for number in range(RESOURCES):
        running.create(f"reco-{number}", model=NEW if number % 2 else OLD)
    until(lambda: len(running.all("sd")) == RESOURCES and there(running) == primaries(running), 200)
    for number in range(RESOURCES):
        running.patch(f"reco-{number}", mirror={"percent": 7})
        running.pods_ready(f"reco-{number}-primary")
    until(lambda: len(settled(running)) == RESOURCES, 200)
    seconds = time.monotonic() - started
    busy = calls(api_server, namespace, since)

    since, started = now(), time.monotonic()
    time.sleep(65)  # what is measured is a minute in which nothing happens
    minutes = (time.monotonic() - started) / 60
    idle = calls(api_server, namespace, since)
    print(
        f"{RESOURCES} resources, {len(there(running))} children, each changed once: settled after {seconds:.0f} s, "
        f"{busy.total() / seconds * 60:.0f} calls a minute {dict(busy)}; "
        f"idle {idle.total() / minutes:.0f} calls a minute {dict(idle)}"
    )
    assert idle.total() / minutes < MOST_IDLE_CALLS
    assert not idle["patch"]


def primaries(running: RunningOperator) -> dict[tuple[str, str], str]:
    """Every resource's first model serves at once, whatever it is: no arms at all."""
    found: dict[tuple[str, str], str] = {}
    for document in running.all("sd"):
        resource = convert(document)
        for child in children(resource, Serving(resource.spec.model), running.platform):
            found[ref_of(child).key] = child["metadata"]["annotations"][HASH_ANNOTATION]
    return found


def settled(running: RunningOperator) -> list[str]:
    return [
        each["metadata"]["name"]
        for each in running.all("sd")
        if each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]
        if any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"].get("conditions", []))
    ]
