"""The kinds of object that the operator touches, and what it does with each: its Role is made from this table.

Paths are built from it, so no discovery is asked for. Next module: `shadow.controller.objects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shadow.controller.resource import API_VERSION, GROUP, KIND
from shadow.controller.wire import Manifest


@dataclass(frozen=True)
class Kind:
    """One kind of object in a namespace."""

    group: str
    """`""` is the core group."""
    version: str
    name: str
    plural: str
    verbs: tuple[str, ...]
    """What the operator does with it (RBAC)."""
    subresources: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The same for its subresources."""

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Of one object, of all in the namespace without a name."""
        prefix = f"/apis/{self.group}" if self.group else "/api"
        parts = [prefix, self.version, "namespaces", namespace, self.plural, name, subresource]
        return "/".join(part for part in parts if part)

    @property
    def api_version(self) -> str:
        """As in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def head(self) -> Manifest:
        """What an object of this kind begins with."""
        return {"apiVersion": self.api_version, "kind": self.name}


CHILD_VERBS: Final = ("list", "watch", "create", "patch", "delete")
"""A server-side apply is a `patch`, and a `create` beside it where there is nothing yet."""
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps", CHILD_VERBS)
SERVICE: Final = Kind("", "v1", "Service", "services", CHILD_VERBS)
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment", "deployments", CHILD_VERBS)
AUTOSCALER: Final = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", CHILD_VERBS)
DISRUPTION_BUDGET: Final = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", CHILD_VERBS)
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", CHILD_VERBS)
CHILDREN: Final = (CONFIG_MAP, SERVICE, DEPLOYMENT, AUTOSCALER, DISRUPTION_BUDGET, NETWORK_POLICY)
"""What a resource's children may be, in the order in which they are read."""
_VERSION: Final = API_VERSION.removeprefix(f"{GROUP}/")
RESOURCE: Final = Kind(
    GROUP, _VERSION, KIND, "shadowdeployments", ("list", "watch", "patch"), (("status", ("patch",)),)
)
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases", ("get", "create", "update", "delete"))
EVENT: Final = Kind("events.k8s.io", "v1", "Event", "events", ("create",))
ALL: Final = (RESOURCE, *CHILDREN, LEASE, EVENT)
_BY_NAME: Final = {kind.name: kind for kind in ALL}


def kind_called(name: str) -> Kind:
    """The kind that a manifest calls so; `KeyError` for one that the operator does not touch."""
    return _BY_NAME[name]


Rule = dict[str, list[str]]


def rules() -> list[Rule]:
    """The rules of the operator's Role: a least-privilege list, compared with the API's audit log by a test."""
    found: list[Rule] = []
    for kind in ALL:
        for name, verbs in ((kind.plural, kind.verbs), *((f"{kind.plural}/{sub}", v) for sub, v in kind.subresources)):
            found.append({"apiGroups": [kind.group], "resources": [name], "verbs": list(verbs)})
    return found
