"""The routers' configuration, from the resource: pure. It is their ConfigMap's, and what the operator's server offers.

Next module: `shadow.controller.limits`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shadow.controller.names import BENTO_PORT, CONTROL, arm_name
from shadow.controller.parts import Mirror
from shadow.controller.resource import ResourceError, Serving, ServingArm, ShadowDeployment
from shadow.controller.wire import size_of
from shadow.router.config import Arm, ConfigError, Primary, Route, RouterConfig, parse_config

LISTEN_PORT: Final = 8080
ADMIN: Final = "127.0.0.1:8701"
OBSERVE_PORT: Final = 8702
SHIPPER_PORT: Final = 8703
SOCKET: Final = "/run/understudy/shipper.sock"


def router_config(resource: ShadowDeployment, serving: Serving) -> RouterConfig:
    """What every router of `resource` should have in force while `serving` plays.

    Never different for two routers of one resource. Paused: `mode` is off, and the arms stay. `ResourceError` for one
    that a router would refuse: a new pod of the primary, which starts from it, would not get ready.
    """
    made = _made(resource, serving)
    try:
        parse_config(msgspec.json.encode(made), "the routers' configuration")
    except ConfigError as error:
        raise ResourceError(f"no router takes what follows from spec: {error}") from error
    return made


def _made(resource: ShadowDeployment, serving: Serving) -> RouterConfig:
    spec, router = resource.spec, resource.spec.router
    return RouterConfig(
        experiment=resource.metadata.name,
        listen=f"0.0.0.0:{LISTEN_PORT}",
        admin=ADMIN,
        shipper=SOCKET,
        observe=f"0.0.0.0:{OBSERVE_PORT}",
        primary=Primary(
            url=f"http://127.0.0.1:{BENTO_PORT}",
            version=serving.primary.bento,
            deadline_ms=router.timeout_milliseconds,
        ),
        arms=tuple(_arm(resource, arm) for arm in serving.arms),
        mode="off" if spec.paused else "mirror",
        routes=tuple(Route(method=route.method, path=route.path) for route in spec.mirror.routes),
        connections=router.connections,
        deregister_seconds=float(router.deregister_seconds),
        drain_seconds=float(router.drain_seconds),
    )


def _arm(resource: ShadowDeployment, arm: ServingArm) -> Arm:
    mirror, router = resource.spec.mirror, resource.spec.router
    return Arm(
        name=arm.name,
        url=f"http://{arm_name(resource, arm.name)}:{BENTO_PORT}",
        version=arm.version.bento,
        fraction=fraction(resource, arm.name),
        deadline_ms=mirror.timeout_milliseconds,
        queue_bytes=size_of(router.queue_size),
        queue_seconds=float(mirror.queue_seconds),
        concurrency=min(mirror.concurrency, router.concurrency),
        answer_bytes=size_of(router.answer_size),
    )


def fraction(resource: ShadowDeployment, arm: str) -> float:
    """The part of the users that the arm called `arm` is shown, 0 to 1."""
    spec = resource.spec
    own = {shadow.name: shadow.percent for shadow in spec.shadows} | {CONTROL: spec.control.percent}
    percent = own.get(arm)
    return mirrored(spec.mirror) if percent is None else percent / 100


def mirrored(mirror: Mirror) -> float:
    """The part of the users that the shadow is shown, 0 to 1."""
    if mirror.fraction is not None:
        return mirror.fraction.numerator / mirror.fraction.denominator
    return 1.0 if mirror.percent is None else mirror.percent / 100
