"""The CRD at a real API server: what it refuses and says, what it fills in, what kubectl shows of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shadow.controller.checks import check
from shadow.controller.crd import COLUMNS, crd
from shadow.controller.generated import CRD_FILE, ROOT
from tests.cluster.api_server import ApiServer
from tests.shadow.controller.cases import BROKEN, MODEL, OTHER
from tests.shadow.controller.resources import document, resource

pytestmark = pytest.mark.xdist_group("api-server")


@pytest.fixture(scope="module", autouse=True)
def installed(api_server: ApiServer) -> None:
    """The committed definition."""
    api_server.kubectl("apply", "--server-side", "-f", str(ROOT / CRD_FILE))
    api_server.kubectl("wait", "--for=condition=Established", f"crd/{crd()['metadata']['name']}", "--timeout=60s")


def applied(server: ApiServer, namespace: str, **spec: Any) -> dict[str, Any]:
    text = json.dumps(document(namespace=namespace, **spec))
    made: dict[str, Any] = json.loads(server.kubectl("apply", "-f", "-", "-o", "json", stdin=text))
    return made


def refused(server: ApiServer, text: str) -> str:
    done = server.try_kubectl("apply", "-f", "-", stdin=text)
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_rule_is_refused_with_the_remedy(api_server: ApiServer, namespace: str, case: str) -> None:
    spec, told = BROKEN[case]
    assert told in refused(api_server, json.dumps(document(namespace=namespace, **spec)))


def test_shadows_of_one_name_are_refused(api_server: ApiServer, namespace: str) -> None:
    text = refused(api_server, json.dumps(document(namespace=namespace, shadows=[OTHER, OTHER])))
    assert "spec.shadows[1]: Duplicate value" in text


@pytest.mark.parametrize("name", ["a" * 41, "recommender.shop", "2nd"])
def test_a_name_that_no_service_can_have_is_refused(api_server: ApiServer, namespace: str, name: str) -> None:
    assert "choose another name" in refused(api_server, json.dumps(document(name, namespace)))


def test_a_misspelt_field_is_refused_by_kubectl_and_dropped_by_the_server(
    api_server: ApiServer, namespace: str
) -> None:
    wrong = document(namespace=namespace, miror={"percent": 5})
    assert 'unknown field "spec.miror"' in refused(api_server, json.dumps(wrong))
    made = api_server.kubectl("apply", "--validate=ignore", "-f", "-", "-o", "json", stdin=json.dumps(wrong))
    assert "miror" not in json.loads(made)["spec"]


def test_defaults_are_filled_in_at_every_depth(api_server: ApiServer, namespace: str) -> None:
    spec = applied(api_server, namespace)["spec"]
    assert spec["replicas"] == 2
    assert spec["deletionPolicy"] == "Orphan"
    assert spec["mirror"]["routes"] == [{"method": "GET", "path": "/recommend"}]
    assert spec["network"]["redis"]["port"] == 6379
    assert spec["pairLog"]["spoolSize"] == "2Gi"
    assert "percent" not in spec["mirror"]


def test_the_pair_log_may_change_between_trials_only(api_server: ApiServer, namespace: str) -> None:
    applied(api_server, namespace)
    applied(api_server, namespace, pairLog={"destination": "s3://pairs/next"})
    status = json.dumps({"status": {"phase": "Shadowing", "shadow": MODEL}})
    patch = ("patch", "sd", "recommender", "-n", namespace, "--type=merge", "-p")
    api_server.kubectl(*patch, status, "--subresource=status")
    changed = json.dumps(document(namespace=namespace, pairLog={"destination": "s3://pairs/other"}))
    assert "end the trial first" in refused(api_server, changed)
    applied(api_server, namespace, pairLog={"destination": "s3://pairs/next"}, mirror={"percent": 5})
    api_server.kubectl(*patch, json.dumps({"status": {"shadow": None}}), "--subresource=status")
    applied(api_server, namespace, pairLog={"destination": "s3://pairs/other"})


def test_the_pair_log_stays_while_further_shadows_play(api_server: ApiServer, namespace: str) -> None:
    applied(api_server, namespace, shadows=[OTHER])
    patch = ("patch", "sd", "recommender", "-n", namespace, "--type=merge", "--subresource=status", "-p")
    api_server.kubectl(*patch, json.dumps({"status": {"phase": "Shadowing", "primary": MODEL, "percent": "100"}}))
    changed = json.dumps(document(namespace=namespace, pairLog={"destination": "s3://pairs/other"}, shadows=[OTHER]))
    assert "take spec.shadows away" in refused(api_server, changed)
    applied(api_server, namespace)
    api_server.kubectl(*patch, json.dumps({"status": {"percent": None}}))
    applied(api_server, namespace, pairLog={"destination": "s3://pairs/other"})


@pytest.mark.parametrize(
    "spec",
    [
        {"router": {"existingSecret": "r", "maxArms": 1}, "control": {"percent": 0}},
        {"router": {"existingSecret": "r", "maxArms": 2}, "control": {"percent": 0}, "shadows": [OTHER]},
        {"router": {"existingSecret": "r", "queueSize": "4Gi", "answerSize": "16Mi"}},
        {"pairLog": {"destination": "gs://b/p", "endpoint": "", "kmsKey": "", "region": ""}},
        {"model": MODEL | {"image": "registry:5000/a/challenger:1@sha256:" + "0" * 64}},
        {"mirror": {"routes": [{"path": "/v1/models/a.b-c_d~e:predict"}, {"path": "/.well-known/x"}]}},
        {
            "podTemplate": {
                "spec": {
                    "volumes": [{"name": "mine", "emptyDir": {}}],
                    "containers": [{"name": "bento", "volumeMounts": [{"name": "mine", "mountPath": "/tmp/.cache"}]}],
                }
            }
        },
    ],
)
def test_what_is_at_a_rules_edge_is_taken_by_the_server_as_by_render(
    api_server: ApiServer, namespace: str, spec: dict[str, Any]
) -> None:
    applied(api_server, namespace, **spec)
    check(resource(namespace=namespace, **spec))


def test_status_is_written_by_its_subresource_alone(api_server: ApiServer, namespace: str) -> None:
    text = json.dumps(document(namespace=namespace) | {"status": {"phase": "Serving"}})
    assert "status" not in json.loads(api_server.kubectl("apply", "-f", "-", "-o", "json", stdin=text))


def test_kubectl_get_shows_the_columns(api_server: ApiServer, namespace: str) -> None:
    applied(api_server, namespace)
    status = {
        "primary": MODEL,
        "shadow": MODEL,
        "percent": "12.5",
        "pairs": 4711,
        "verdict": {"outcome": "PASS"},
        "phase": "Shadowing",
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Serves", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ],
    }
    patch = json.dumps({"status": status})
    api_server.kubectl(
        "patch", "sd", "recommender", "-n", namespace, "--type=merge", "--subresource=status", "-p", patch
    )
    head, line = api_server.kubectl("get", "sd", "-n", namespace, "-o", "wide").splitlines()
    assert head.split() == ["NAME", *(name.upper() for name, *_ in COLUMNS)]
    assert "<none>" not in line
    for shown in ("champion:336f13f24e56", MODEL["bento"], "12.5", "4711", "PASS", "Shadowing", "True"):
        assert shown in line


def test_conditions_of_two_writers_are_joined_by_their_type(api_server: ApiServer, namespace: str) -> None:
    applied(api_server, namespace)

    def write(manager: str, kind: str) -> None:
        condition = {"type": kind, "status": "True", "reason": "Test", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        body = {key: document(namespace=namespace)[key] for key in ("apiVersion", "kind", "metadata")}
        text = json.dumps(body | {"status": {"conditions": [condition]}})
        api_server.kubectl(
            *("apply", "--server-side", "--subresource=status", "--field-manager", manager, "-f", "-"), stdin=text
        )

    write("one", "Ready")
    write("other", "GatePassed")
    conditions = api_server.read("sd", "recommender", "-n", namespace)["status"]["conditions"]
    assert {each["type"] for each in conditions} == {"Ready", "GatePassed"}


def test_every_field_is_explained(api_server: ApiServer) -> None:
    text = api_server.kubectl("explain", "sd.spec")
    assert "<no description>" not in text
    assert "The version that should serve." in text
    assert "xplain" not in api_server.kubectl("explain", "sd.spec.mirror.percent")
