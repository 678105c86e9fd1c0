"""What people and autoscalers set survives the operator; what is the operator's is put back (a real API server)."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from shadow.controller.api import ClusterError
from shadow.controller.children import children
from shadow.controller.cluster import Cluster, Ref, ref_of
from shadow.controller.conflicts import Kept
from shadow.controller.wire import Manifest
from tests.cluster.api_server import ApiServer
from tests.cluster.operators import cluster_of
from tests.shadow.controller.resources import ON_TRIAL, PLATFORM, resource

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("api-server")]
PRIMARY = ("Deployment", "recommender-primary")
IMAGE = '.spec.template.spec.containers[name="bento"].image'


def wanted(namespace: str, **spec: Any) -> dict[tuple[str, str], Manifest]:
    found = children(resource(namespace=namespace, **spec), ON_TRIAL, PLATFORM)
    return {ref_of(child).key: child for child in found}


async def everything(cluster: Cluster, want: dict[tuple[str, str], Manifest]) -> dict[tuple[str, str], Manifest]:
    """All children applied over what is found; what is there then."""
    there = {ref_of(child).key: child for child in await cluster.children()}
    for key, child in want.items():
        await cluster.apply(child, there.get(key))
    return {ref_of(child).key: child for child in await cluster.children()}


def by_hand(server: ApiServer, namespace: str, *arguments: str) -> None:
    server.kubectl("-n", namespace, *arguments)


async def test_all_children_are_accepted_and_a_second_time_nothing_is_sent(
    api_server: ApiServer, namespace: str
) -> None:
    async with cluster_of(api_server, namespace) as (cluster, api):
        want = wanted(namespace)
        found = await everything(cluster, want)
        assert found.keys() == want.keys()
        sent = api.calls["patch", "ok"]
        assert await everything(cluster, want) == found
        assert api.calls["patch", "ok"] == sent == len(want)


async def test_an_operator_that_starts_anew_changes_nothing(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (cluster, api):
        found = await everything(cluster, wanted(namespace))
        assert await everything(Cluster(api, namespace), wanted(namespace)) == found


async def test_the_replicas_of_kubectl_scale_stay_and_are_told(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (cluster, _):
        await everything(cluster, wanted(namespace))
        by_hand(api_server, namespace, "scale", "deployment/recommender-primary", "--replicas", "7")
        want = wanted(namespace, registryURL="http://mlflow:5000")
        found = await everything(cluster, want)
        assert found[PRIMARY]["spec"]["replicas"] == 7
        environment = found[PRIMARY]["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "UNDERSTUDY_REGISTRY_URL", "value": "http://mlflow:5000"} in environment
        assert cluster.kept(want[PRIMARY]) == (Kept(*PRIMARY, ".spec.replicas", "kubectl"),)


async def test_an_annotation_and_a_variable_of_a_person_stay(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (cluster, _):
        await everything(cluster, wanted(namespace))
        by_hand(api_server, namespace, "annotate", "deployment/recommender-primary", "team=search")
        by_hand(api_server, namespace, "set", "env", "deployment/recommender-primary", "-c", "bento", "EXTRA=1")
        want = wanted(namespace, registryURL="http://mlflow:5000")
        found = await everything(cluster, want)
        assert found[PRIMARY]["metadata"]["annotations"]["team"] == "search"
        environment = found[PRIMARY]["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"EXTRA", "UNDERSTUDY_REGISTRY_URL"} <= {each["name"] for each in environment}
        assert cluster.kept(want[PRIMARY]) == ()


async def test_a_template_changed_by_hand_is_left_whole_and_told_until_it_is_given_back(
    api_server: ApiServer, namespace: str
) -> None:
    async with cluster_of(api_server, namespace) as (cluster, api):
        await everything(cluster, wanted(namespace))
        by_hand(api_server, namespace, "set", "image", "deployment/recommender-primary", "bento=mine:1")
        want = wanted(namespace, registryURL="http://mlflow:5000")
        before = api_server.read(*PRIMARY, "-n", namespace)
        found = await everything(cluster, want)
        assert found[PRIMARY]["spec"] == before["spec"]
        assert Kept(*PRIMARY, IMAGE, "kubectl-set") in cluster.kept(want[PRIMARY])
        sent = sum(api.calls[verb, result] for verb, result in api.calls if verb == "patch")
        await everything(cluster, want)
        assert sum(api.calls[verb, result] for verb, result in api.calls if verb == "patch") == sent

        by_hand(api_server, namespace, "annotate", "deployment/recommender-primary", "understudy.dev/take-back=yes")
        found = await everything(cluster, want)
        assert found[PRIMARY]["spec"]["template"]["spec"]["containers"][0]["image"] == "champion:336f13f24e56"
        assert "understudy.dev/take-back" not in found[PRIMARY]["metadata"]["annotations"]
        assert cluster.kept(want[PRIMARY]) == ()


async def test_a_rollout_that_a_person_undid_stays_undone(api_server: ApiServer, namespace: str) -> None:
    """No controller runs here, so the undo is done as kubectl does it: template and annotations of before, whole."""
    async with cluster_of(api_server, namespace) as (cluster, _):
        before = (await everything(cluster, wanted(namespace)))[PRIMARY]
        want = wanted(namespace, registryURL="http://mlflow:5000")
        await everything(cluster, want)
        patch = [
            {"op": "replace", "path": "/spec/template", "value": before["spec"]["template"]},
            {"op": "replace", "path": "/metadata/annotations", "value": before["metadata"]["annotations"]},
        ]
        undo = ("--type", "json", "--field-manager", "kubectl-rollout", "-p", json.dumps(patch))
        by_hand(api_server, namespace, "patch", "deployment", "recommender-primary", *undo)
        found = await everything(cluster, want)
        assert found[PRIMARY]["spec"]["template"] == before["spec"]["template"]
        assert {each.manager for each in cluster.kept(want[PRIMARY])} == {"kubectl-rollout"}


async def test_an_autoscaler_that_is_new_finds_the_replicas_and_keeps_its_own(
    api_server: ApiServer, namespace: str
) -> None:
    async with cluster_of(api_server, namespace) as (cluster, _):
        await everything(cluster, wanted(namespace, replicas=5))
        want = wanted(namespace, autoscaling={"maxReplicas": 9})
        assert "replicas" not in want[PRIMARY]["spec"]
        assert (await everything(cluster, want))[PRIMARY]["spec"]["replicas"] == 5
        scale = ("--subresource", "scale", "--type", "merge", "--field-manager", "kube-controller-manager")
        by_hand(
            api_server, namespace, "patch", "deployment", "recommender-primary", *scale, "-p", '{"spec":{"replicas":8}}'
        )
        assert (await everything(cluster, want))[PRIMARY]["spec"]["replicas"] == 8


async def test_a_field_taken_away_by_hand_comes_back(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (cluster, _):
        await everything(cluster, wanted(namespace))
        patch = '{"spec":{"minReadySeconds":null}}'
        by_hand(api_server, namespace, "patch", "deployment", "recommender-primary", "--type", "merge", "-p", patch)
        assert (await everything(cluster, wanted(namespace)))[PRIMARY]["spec"]["minReadySeconds"] == 2


async def test_a_deletion_takes_the_object_that_was_seen_and_no_other(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (cluster, _):
        found = await everything(cluster, wanted(namespace))
        seen = ref_of(found["Service", "recommender-shadow"])
        await cluster.delete(Ref(seen.kind, seen.name, "11111111-2222-3333-4444-555555555555"))
        assert seen.key in {ref_of(each).key for each in await cluster.children()}
        await cluster.delete(seen)
        assert seen.key not in {ref_of(each).key for each in await cluster.children()}
        await cluster.delete(seen)


async def test_what_has_no_label_of_ours_is_not_seen(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (cluster, _):
        by_hand(api_server, namespace, "create", "configmap", "theirs")
        assert await cluster.children() == []


async def test_what_the_server_refuses_is_named(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (cluster, api):
        bad = wanted(namespace)["Service", "recommender"]
        bad["spec"]["ports"][0]["port"] = 99_999
        with pytest.raises(
            ClusterError, match=r"422 Service \"recommender\" is invalid: spec.ports\[0\].port"
        ) as error:
            await cluster.apply(bad, None)
        assert error.value.kind == "invalid"
        with pytest.raises(ClusterError, match="403") as error:
            await api.get("/api/v1/namespaces/kube-system/secrets")
        assert error.value.kind == "forbidden"
        assert api.calls["get", "forbidden"] == 1


async def test_an_answer_that_does_not_come_ends_at_the_deadline(api_server: ApiServer, namespace: str) -> None:
    async with cluster_of(api_server, namespace) as (_, api):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            api._client.configuration.host = f"http://127.0.0.1:{silent.getsockname()[1]}"
            api._deadline = 0.2
            with pytest.raises(ClusterError, match="no answer in") as error:
                await api.get("/api")
            assert error.value.kind == "timeout"
        with pytest.raises(ClusterError) as error:
            await api.get("/api")
        assert error.value.kind == "unreachable"
