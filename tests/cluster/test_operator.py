"""The operator as a process on a real API server, with its own Role: what it makes of a resource, what it leaves."""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from shadow.control_contract import ArmReport, Report
from shadow.controller.kinds import rules
from shadow.processes import Stage
from tests.cluster.api_server import ApiServer
from tests.cluster.operators import RunningOperator, install_crd, operator_account, start_operator, until
from tests.shadow.controller.resources import CHALLENGER, CHAMPION

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("api-server")]
NEW = {"name": CHALLENGER.name, "bento": CHALLENGER.bento, "image": CHALLENGER.image}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path / "logs", dict(os.environ)) as stage:
        yield stage


@pytest.fixture
def running(api_server: ApiServer, namespace: str, stage: Stage) -> RunningOperator:
    install_crd(api_server)
    return start_operator(api_server, namespace, stage, operator_account(api_server, namespace))


def status_of(running: RunningOperator, name: str = "recommender") -> Any:
    return (running.read("sd", name) or {}).get("status", {})


def condition(running: RunningOperator, kind: str) -> str:
    found = [each for each in status_of(running).get("conditions", []) if each["type"] == kind]
    return f"{found[0]['status']} {found[0]['reason']}" if found else ""


def test_a_resource_comes_to_life_gets_a_shadow_and_leaves_production_behind(running: RunningOperator) -> None:
    running.create()
    until(lambda: condition(running, "Progressing") == "True RollingOut")
    until(lambda: running.read("deployment", "recommender-primary"))
    running.pods_ready("recommender-primary")
    until(lambda: condition(running, "Ready") == "True Serving")
    until(lambda: condition(running, "Progressing") == "False Settled")
    assert status_of(running)["primary"]["bento"] == CHAMPION.bento
    generation = running.read("deployment", "recommender-primary")["metadata"]["generation"]

    running.patch(model=NEW, mirror={"percent": 10})
    until(lambda: running.read("deployment", "recommender-control"))
    until(lambda: status_of(running)["phase"] == "Shadowing")
    shadow = running.read("deployment", "recommender-shadow")
    assert shadow["spec"]["template"]["spec"]["containers"][0]["image"] == CHALLENGER.image
    status = status_of(running)
    assert (status["primary"]["bento"], status["shadow"]["bento"]) == (CHAMPION.bento, CHALLENGER.bento)
    assert running.read("deployment", "recommender-primary")["metadata"]["generation"] == generation
    reasons = until(lambda: (found := events(running)) and "ShadowStarted" in found and found)
    assert reasons.count("Primary") == reasons.count("ShadowStarted") == 1

    running.server.kubectl("-n", running.namespace, "delete", "sd", "recommender", "--timeout", "60s")
    left = {(each["kind"], each["metadata"]["name"]) for each in running.all("deployments,services,configmaps")}
    assert {("Deployment", "recommender-primary"), ("Service", "recommender")} <= left
    assert not [name for _, name in left if name.endswith(("-shadow", "-control"))]
    assert running.read("deployment", "recommender-primary")["metadata"]["generation"] == generation


def events(running: RunningOperator) -> list[str]:
    return [each["reason"] for each in running.all("events.events.k8s.io")]


def test_a_child_that_somebody_deletes_comes_back(running: RunningOperator) -> None:
    running.create()
    first = until(lambda: running.read("service", "recommender"))
    running.server.kubectl("-n", running.namespace, "delete", "service", "recommender")
    again = until(lambda: running.read("service", "recommender"))
    assert again["metadata"]["uid"] != first["metadata"]["uid"]


def test_a_change_by_hand_is_told_in_status_and_by_one_event(running: RunningOperator) -> None:
    running.create()
    until(lambda: running.read("deployment", "recommender-primary"))
    running.server.kubectl(
        "-n", running.namespace, "set", "image", "deployment/recommender-primary", "bento=mine:1"
    )  # fmt: skip
    until(lambda: condition(running, "Progressing") == "False KeptByHand")
    found = running.read("deployment", "recommender-primary")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "mine:1"
    until(lambda: "KeptByHand" in events(running))
    assert events(running).count("KeptByHand") == 1


def _renewed(running: RunningOperator) -> bool:
    lease = running.read("lease", "understudy-operator")["spec"]
    return bool(lease["renewTime"] != lease["acquireTime"])


def test_a_resource_with_everything_uses_exactly_the_rights_that_the_role_grants(
    running: RunningOperator, stage: Stage
) -> None:
    """Every verb that is granted was used, and none was refused."""
    running.create(autoscaling={"maxReplicas": 4})
    until(lambda: running.read("deployment", "recommender-primary"))
    running.patch(model=NEW)
    until(lambda: running.read("deployment", "recommender-shadow"))
    running.patch(
        model={"name": CHAMPION.name, "bento": CHAMPION.bento, "image": CHAMPION.image}, deletionPolicy="Delete"
    )
    until(lambda: not running.read("deployment", "recommender-shadow"))
    until(lambda: "ShadowEnded" in events(running))
    until(lambda: _renewed(running))
    running.server.kubectl("-n", running.namespace, "delete", "sd", "recommender", "--timeout", "60s")
    until(lambda: not running.all("deployments,services,horizontalpodautoscalers,poddisruptionbudgets,networkpolicies"))
    stage.stop("one")

    account = f"system:serviceaccount:{running.namespace}:understudy-operator"
    used: set[tuple[str, str, str]] = set()
    for entry in running.server.audited():
        what = entry.get("objectRef", {})
        if entry["user"]["username"] == account and what.get("namespace") == running.namespace:
            name = "/".join(filter(None, (what["resource"], what.get("subresource"))))
            assert entry["responseStatus"]["code"] != 403, entry
            used.add((what.get("apiGroup", ""), name, entry["verb"]))
            if entry["verb"] == "patch" and entry["responseStatus"]["code"] == 201:
                used.add((what.get("apiGroup", ""), name, "create"))
    granted = {
        (group, name, verb)
        for rule in rules()
        for group in rule["apiGroups"]
        for name in rule["resources"]
        for verb in rule["verbs"]
    }
    assert used == granted


def test_two_operators_one_acts_and_the_other_goes_on_where_it_was_killed(
    running: RunningOperator, stage: Stage, api_server: ApiServer
) -> None:
    running.create()
    until(lambda: status_of(running).get("primary"))
    with tempfile.TemporaryDirectory() as logs, Stage(Path(logs), dict(stage.environment)) as others:
        second = start_operator(api_server, running.namespace, others, Path(stage.environment["KUBECONFIG"]), "two")
        assert second.metrics()["understudy_operator_lease_held"] == 0
        running.process.process.kill()
        running.patch(model=NEW)
        until(lambda: running.read("deployment", "recommender-shadow"), 90)
        assert second.metrics()["understudy_operator_lease_held"] == 1
        assert status_of(running)["primary"]["bento"] == CHAMPION.bento


def test_a_percent_reaches_a_router_that_waits_within_a_second(running: RunningOperator) -> None:
    """From what the API server took to the answer of the long poll; the router then takes no time (control.md)."""
    running.create(model=NEW)
    until(lambda: status_of(running).get("routers", {}).get("generation"))
    running.patch(model={"name": CHAMPION.name, "bento": CHAMPION.bento, "image": CHAMPION.image})
    until(lambda: status_of(running).get("phase") == "Shadowing")
    url = f"http://127.0.0.1:{running.control}/{running.namespace}/recommender/config"

    def ask(generation: int) -> Any:
        query = f"router=r&incarnation=i&generation={generation}&wait=60&suspended="
        with urllib.request.urlopen(f"{url}?{query}", timeout=90) as response:
            return json.loads(response.read())

    generation, took = ask(0)["generation"], []
    with ThreadPoolExecutor(1) as pool:
        for percent in (10, 20, 30, 40, 50):
            asked = pool.submit(ask, generation)
            running.patch(mirror={"percent": percent})
            taken = time.monotonic()
            offer = asked.result()
            took.append(max(0.0, time.monotonic() - taken))
            assert offer["config"]["arms"][0]["fraction"] == percent / 100
            assert offer["generation"] > generation
            generation = offer["generation"]
    print(f"a percent at a router that waits: median {sorted(took)[2]:.3f} s, longest {max(took):.3f} s after kubectl")
    assert sorted(took)[2] < 1.0


def test_an_operator_that_is_told_to_end_gives_the_lease_back_at_once(running: RunningOperator, stage: Stage) -> None:
    running.create()
    until(lambda: running.read("deployment", "recommender-primary"))
    started = time.monotonic()
    assert stage.stop("one") == 0
    took = time.monotonic() - started
    assert running.read("lease", "understudy-operator") is None
    assert "Traceback" not in running.process.log.read_text()
    print(f"ended {took:.1f} s after SIGTERM")
    assert took < 15


def test_the_lease_is_found_by_the_releases_label_and_goes_with_the_operators_deployment(
    api_server: ApiServer, namespace: str, stage: Stage
) -> None:
    """No controller collects here; that one with this owner is collected is the cluster's promise."""
    install_crd(api_server)
    command = ("create", "deployment", "mine-operator", "--image", "operator:1", "--replicas", "0")
    api_server.kubectl("-n", namespace, *command)
    stage.environment |= {"UNDERSTUDY_OPERATOR_RELEASE": "mine", "UNDERSTUDY_OPERATOR_DEPLOYMENT": "mine-operator"}
    running = start_operator(api_server, namespace, stage, operator_account(api_server, namespace))
    lease = until(lambda: running.read("lease", "understudy-operator"))
    labels = {"app.kubernetes.io/instance": "mine", "app.kubernetes.io/managed-by": "understudy-operator"}
    assert labels.items() <= lease["metadata"]["labels"].items()
    uid = running.read("deployment", "mine-operator")["metadata"]["uid"]
    assert [(each["kind"], each["uid"]) for each in lease["metadata"]["ownerReferences"]] == [("Deployment", uid)]


def report(running: RunningOperator, pairs: int, features: str) -> None:
    """What the one router says; its life began after any trial."""
    arms = (
        ArmReport(arm="primary", version=CHAMPION.bento, features="loaded"),
        ArmReport(arm="control", version=CHAMPION.bento, features="loaded"),
        ArmReport(arm="shadow", version=CHALLENGER.bento, pairs=pairs, features=features),
    )
    query = {"router": "r", "incarnation": "99990101T000000-r", "generation": "0", "wait": "0", "suspended": ""}
    text = urlencode(query | {"report": msgspec.json.encode(Report(arms=arms)).decode()})
    url = f"http://127.0.0.1:{running.control}/{running.namespace}/recommender/config?{text}"
    with urllib.request.urlopen(url, timeout=60) as response:
        assert response.status == 200


def test_what_routers_count_and_their_bentos_say_is_in_status_and_a_restart_counts_nothing_twice(
    running: RunningOperator, stage: Stage, api_server: ApiServer
) -> None:
    running.create()
    until(lambda: status_of(running).get("primary"))
    assert condition(running, "FeaturesReady") == "Unknown NoRouter"
    running.patch(model=NEW)
    until(lambda: status_of(running).get("trial"))
    report(running, 5, "missing")
    until(lambda: status_of(running).get("pairs") == 5)
    assert condition(running, "FeaturesReady") == "False NotLoaded"
    report(running, 8, "loaded")
    until(lambda: condition(running, "FeaturesReady") == "True Loaded")
    assert status_of(running)["pairs"] == 8
    stage.stop("one")
    again = start_operator(api_server, running.namespace, stage, Path(stage.environment["KUBECONFIG"]), "again")
    until(lambda: condition(running, "FeaturesReady") == "Unknown NoRouter")
    assert status_of(running)["pairs"] == 8
    report(again, 9, "loaded")
    until(lambda: condition(running, "FeaturesReady") == "True Loaded")
    assert status_of(running)["pairs"] == 9
    header, line = running.server.kubectl("-n", running.namespace, "get", "sd", "recommender").splitlines()
    column = header.index("PAIRS")
    assert line[column:].split()[0] == "9"
