"""The API server of the tests is a real one: it stores, refuses by RBAC, and tells who asked for what."""

from __future__ import annotations

import pytest

from tests.cluster.api_server import ApiServer

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("api-server")]


def test_what_is_created_is_there(api_server: ApiServer, namespace: str) -> None:
    api_server.kubectl("create", "configmap", "one", "-n", namespace, "--from-literal=key=value")
    assert api_server.read("configmap", "one", "-n", namespace)["data"] == {"key": "value"}


def test_an_account_may_do_nothing_that_no_role_gives_it_and_the_audit_log_says_so(
    api_server: ApiServer, namespace: str
) -> None:
    theirs = api_server.kubeconfig(api_server.account(namespace, "somebody"), namespace)
    refused = api_server.try_kubectl("get", "configmaps", kubeconfig=theirs)
    assert "cannot list resource" in refused.stderr
    [entry] = [each for each in api_server.audited() if each["user"]["username"].endswith(f"{namespace}:somebody")]
    assert (entry["verb"], entry["objectRef"]["resource"], entry["responseStatus"]["code"]) == (
        "list",
        "configmaps",
        403,
    )
