"""NetworkPolicies: routers reach shadow and control, shippers the store, bentos Redis; nobody else reaches an arm.

All containers of a pod share its address, so a policy is about the pod: the primary's may do what router, shipper and
bento may. Next module: `shadow.controller.children.availability`.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from shadow.controller.kinds import NETWORK_POLICY
from shadow.controller.names import BENTO_PORT, COMPONENT_LABEL, CONTROL, PRIMARY, SHADOW, arm_name, manifest, selector
from shadow.controller.parts import Peer, Way
from shadow.controller.resource import Platform, ShadowDeployment
from shadow.controller.router_config import LISTEN_PORT, OBSERVE_PORT, SHIPPER_PORT
from shadow.controller.wire import Manifest, plain

ARMS: Final = "arms"
NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
MAY_BE_ALONE: Final = {"kube-score/ignore": "networkpolicy-targets-pod"}
"""To kube-score: between trials there are no arms."""
DNS_PORT: Final = 53
DNS: Final[dict[str, Any]] = {
    "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


def network_policies(resource: ShadowDeployment, platform: Platform) -> list[Manifest]:
    """One for the primary's pods, one for all arms'; none where `network.policies` is off.

    The arms' is there without arms, too: a new one is never without it.
    """
    if not resource.spec.network.policies:
        return []
    primary: dict[str, Any] = {"matchLabels": selector(resource, PRIMARY)}
    return [
        _policy(resource, PRIMARY, PRIMARY, primary, _into_primary(resource), _out_of_primary(resource, platform)),
        _policy(resource, ARMS, SHADOW, _arms(resource), _into_arms(resource), _shared_ways(resource)),
    ]


def _policy(
    resource: ShadowDeployment,
    name: str,
    component: str,
    pods: dict[str, Any],
    ingress: list[dict[str, Any]],
    egress: list[dict[str, Any]],
) -> Manifest:
    spec = {"podSelector": pods, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress}
    full_name = arm_name(resource, name)
    return manifest(resource, NETWORK_POLICY, full_name, component, name, {"spec": spec}, MAY_BE_ALONE)


def _arms(resource: ShadowDeployment) -> dict[str, Any]:
    """The pods of shadow, control and further shadows."""
    component = {"key": COMPONENT_LABEL, "operator": "In", "values": [SHADOW, CONTROL]}
    return {"matchLabels": selector(resource), "matchExpressions": [component]}


def _into_primary(resource: ShadowDeployment) -> list[dict[str, Any]]:
    network = resource.spec.network
    clients = {"ports": [_tcp(LISTEN_PORT)]} | ({"from": _peers(network.clients)} if network.clients else {})
    return [clients, *_monitoring(resource, OBSERVE_PORT, SHIPPER_PORT, BENTO_PORT)]


def _into_arms(resource: ShadowDeployment) -> list[dict[str, Any]]:
    routers = {"podSelector": {"matchLabels": selector(resource, PRIMARY)}}
    return [{"ports": [_tcp(BENTO_PORT)], "from": [routers]}, *_monitoring(resource, BENTO_PORT)]


def _monitoring(resource: ShadowDeployment, *ports: int) -> list[dict[str, Any]]:
    peers = resource.spec.network.monitoring
    return [{"ports": [_tcp(port) for port in ports], "from": _peers(peers)}] if peers else []


def _out_of_primary(resource: ShadowDeployment, platform: Platform) -> list[dict[str, Any]]:
    arms = {"ports": [_tcp(BENTO_PORT)], "to": [{"podSelector": _arms(resource)}]}
    found = [arms, *_shared_ways(resource), _way(resource.spec.network.store)]
    if platform.control_url:
        found.append({"ports": [_tcp(control_port(platform))], "to": [_operator(platform)]})
    return found


def control_port(platform: Platform) -> int:
    """Of the operator's configuration server."""
    return urlsplit(platform.control_url).port or 80


def _operator(platform: Platform) -> dict[str, Any]:
    pods: dict[str, Any] = {"podSelector": {"matchLabels": dict(platform.control_labels)}}
    if not platform.control_namespace:
        return pods
    return pods | {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: platform.control_namespace}}}


def _shared_ways(resource: ShadowDeployment) -> list[dict[str, Any]]:
    """What any bento needs: names, features, and what was asked for."""
    network = resource.spec.network
    dns = {"ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")], "to": [DNS]}
    ways = [network.redis, network.registry, network.otlp]
    return [*([dns] if network.dns else []), *(_way(way) for way in ways if way is not None)]


def _way(way: Way) -> dict[str, Any]:
    return {"ports": [_tcp(way.port)]} | ({"to": _peers(way.to)} if way.to else {})


def _peers(peers: tuple[Peer, ...]) -> list[Any]:
    return [plain(peer) for peer in peers]


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}
