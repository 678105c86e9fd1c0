"""How kopf is used: it hands over what the watches tell, in the loop, and does nothing else."""

from __future__ import annotations

import inspect
from typing import Any

import kopf
from kubernetes.aio import client

from shadow.controller.handlers import as_kopf, quiet, watches
from shadow.controller.kinds import CHILDREN, RESOURCE
from shadow.controller.settings import OperatorSettings
from tests.shadow.controller.test_settings import LEAST


class Ear:
    """What an operator is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, Any]]] = []

    def saw(self, kind: str, change: str, found: dict[str, Any]) -> None:
        self.heard.append((kind, change, found))


def handlers(ear: Any) -> dict[str, Any]:
    registry: Any = watches(ear, OperatorSettings.load(LEAST), client.ApiClient(client.Configuration()))
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    return {handler.selector.any_name: handler.fn for handler in registry._watching.get_all_handlers()}


async def test_the_resource_and_every_kind_of_child_are_watched_in_the_loop_itself() -> None:
    """kopf calls a plain function in another thread, where the operator must not be touched."""
    found = handlers(Ear())
    assert found.keys() == {kind.plural for kind in (RESOURCE, *CHILDREN)}
    assert all(inspect.iscoroutinefunction(each) for each in found.values())


async def test_what_is_told_names_kind_and_change_and_what_has_no_name_is_passed_over() -> None:
    ear = Ear()
    saw = handlers(ear)["services"]
    await saw(event={"type": None, "object": {"metadata": {"name": "a"}}}, logger=None)
    await saw(event={"type": "DELETED", "object": {"metadata": {"name": "a"}}}, logger=None)
    assert [(kind, change) for kind, change, _ in ear.heard] == [("Service", ""), ("Service", "DELETED")]
    assert ear.heard[0][2] == {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}


def test_kopf_posts_nothing_scans_nothing_and_has_no_peers() -> None:
    settings = quiet()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone


def test_kopf_uses_the_account_of_the_client() -> None:
    configuration = client.Configuration(host="https://here:6443")
    configuration.api_key["BearerToken"] = "Bearer abc"
    configuration.ssl_ca_cert = "/ca.crt"
    found = as_kopf(configuration)
    assert found == kopf.ConnectionInfo(server="https://here:6443", ca_path="/ca.crt", insecure=False, token="abc")
