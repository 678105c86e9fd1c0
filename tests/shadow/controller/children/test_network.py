"""Who may reach whom."""

from __future__ import annotations

from typing import Any

import pytest

from shadow.controller.children.network import network_policies
from tests.shadow.controller.resources import ALONE, PLATFORM, resource

PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def policy(arm: str, platform: Any = PLATFORM, **spec: Any) -> Any:
    found = {each["metadata"]["name"]: each["spec"] for each in network_policies(resource(**spec), platform)}
    return found[f"recommender-{arm}"]


def ports(rules: list[dict[str, Any]]) -> list[int]:
    return [port["port"] for rule in rules for port in rule["ports"]]


def test_only_routers_reach_an_arm() -> None:
    (rule,) = policy("arms")["ingress"]
    assert ports([rule]) == [3000]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["understudy.dev/arm"] == "primary"
    assert "namespaceSelector" not in peer


def test_users_reach_the_router_and_neither_the_bento_behind_it_nor_its_metrics() -> None:
    assert policy("primary")["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}]}]


def test_metrics_are_for_those_who_are_named() -> None:
    rule = policy("primary", network={"monitoring": [PROMETHEUS]})["ingress"][1]
    assert rule["from"] == [PROMETHEUS]
    assert ports([rule]) == [8702, 8703, 3000]
    assert policy("arms", network={"monitoring": [PROMETHEUS]})["ingress"][1]["from"] == [PROMETHEUS]


def test_both_ways_are_shut_but_for_what_is_named() -> None:
    """A policy without Egress among its types would leave every way out open."""
    for arm in ("primary", "arms"):
        assert policy(arm)["policyTypes"] == ["Ingress", "Egress"]


def test_no_policy_opens_the_admin_port() -> None:
    network = {"monitoring": [PROMETHEUS], "registry": {"port": 5000}, "otlp": {"port": 4317}}
    for arm in ("primary", "arms"):
        assert 8701 not in ports(policy(arm, network=network)["ingress"])


def test_an_arm_reaches_names_and_features_and_not_the_store() -> None:
    assert ports(policy("arms")["egress"]) == [53, 53, 6379]
    assert ports(policy("arms", network={"dns": False})["egress"]) == [6379]
    more = {"registry": {"port": 5000}, "otlp": {"port": 4317}}
    assert ports(policy("arms", network=more)["egress"]) == [53, 53, 6379, 5000, 4317]


def test_the_primary_reaches_arms_features_store_and_operator() -> None:
    assert ports(policy("primary")["egress"]) == [3000, 53, 53, 6379, 443, 8080]
    assert ports(policy("primary", ALONE)["egress"]) == [3000, 53, 53, 6379, 443]


@pytest.mark.parametrize("peers", [[], [{"podSelector": {"matchLabels": {"app": "redis"}}}]])
def test_a_way_leads_to_those_who_are_named_else_to_a_port_alone(peers: list[Any]) -> None:
    (way,) = policy("arms", network={"dns": False, "redis": {"port": 6380, "to": peers}})["egress"]
    assert way.get("to", []) == peers


def test_without_policies_there_is_none() -> None:
    assert network_policies(resource(network={"policies": False}), PLATFORM) == []
