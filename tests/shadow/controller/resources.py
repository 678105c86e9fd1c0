"""Resources for tests, and who plays."""

from __future__ import annotations

from typing import Any

from shadow.controller.parts import Version
from shadow.controller.resource import Platform, Serving, ServingArm, ShadowDeployment, convert

PLATFORM = Platform(
    router_image="understudy-router:0.1.0", control_url="http://understudy-operator.ops.svc:8080/control"
)
ALONE = Platform(router_image="understudy-router:0.1.0")
"""Without an operator."""
CHAMPION = Version(name="champion", bento="champion:336f13f24e56", image="champion:336f13f24e56")
CHALLENGER = Version(name="challenger", bento="challenger:5708e43f2a27", image="challenger:5708e43f2a27")
SHADOW = ServingArm("shadow", "shadow", CHALLENGER)
CONTROL = ServingArm("control", "control", CHAMPION)
ON_TRIAL = Serving(CHAMPION, (SHADOW, CONTROL))


def document(name: str = "recommender", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    """The least that a resource needs; `spec` says more, in camelCase."""
    return {
        "apiVersion": "understudy.dev/v1alpha1",
        "kind": "ShadowDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"name": CHAMPION.name, "bento": CHAMPION.bento, "image": CHAMPION.image},
            "router": {"existingSecret": "recommender-router"},
            "pairLog": {"destination": "s3://pairs/recommender"},
            "features": {"existingSecret": "recommender-redis"},
        }
        | spec,
    }


def resource(name: str = "recommender", namespace: str = "shop", **spec: Any) -> ShadowDeployment:
    """The same as a resource."""
    return convert(document(name, namespace, **spec))
