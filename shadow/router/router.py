"""What all exchanges share that begin under one configuration: the primary's pool, the arms, the counters and the log.

A change of configuration makes a new `Router` beside the old one and puts it in its place; requests under way end with
the one they began with. What did not change is the same object in both. Next module: `shadow.router.exchange`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from shadow.router.addresses import is_private
from shadow.router.addresses import upstream as address_of
from shadow.router.config import MOST_ARMS, Arm, Primary, RouterConfig
from shadow.router.counters import Counters
from shadow.router.http1 import Request
from shadow.router.mirror import Mirror
from shadow.router.pairlog import PairLog
from shadow.router.pool import Pool
from shadow.router.sampling import Sampler, sampler_of
from shadow.router.split import Splitter

FIXED: Final = ("experiment", "listen", "admin", "observe", "shipper", "unit_parameter")
"""Fields that a running router cannot change: its records, its ports and its users' buckets hang on them."""


@dataclass(frozen=True)
class Router:
    """One configuration, ready for requests. Made inside a running loop."""

    config: RouterConfig
    unit_key: bytes = field(repr=False)
    incarnation: str
    counters: Counters
    log: PairLog
    pool: Pool
    arms: list[Mirror]
    """All arms, in the order of the configuration."""
    samplers: dict[str, Sampler]
    """By arm."""
    shown: tuple[tuple[Mirror, Sampler], ...]
    """Those that get copies, and of whose requests: all but the one that answers users in a split."""
    split: Splitter | None
    """In mode split."""
    routes: frozenset[tuple[bytes, bytes]]
    """(method, path) of what is eligible."""
    paths: frozenset[bytes]
    """The paths of the routes."""
    private: frozenset[bytes]
    """The paths that users do not get."""
    parameter: bytes
    """The query parameter that names the user."""

    @staticmethod
    def of(config: RouterConfig, unit_key: bytes, incarnation: str, log: PairLog) -> Router:
        """The first router of a process."""
        counters = Counters.of(arm.name for arm in config.arms)
        arms = [Mirror(arm, config, counters.arms[arm.name], log.write) for arm in config.arms]
        return _router(config, unit_key, incarnation, counters, log, _pool(config.primary), arms, {})

    def changed(self, config: RouterConfig) -> Router:
        """The router for another configuration; `ValueError` names the field that cannot change.

        An arm of which only the share of the requests changed, if anything, stays the same object, with its
        connections, its queue and its breaker; any other starts anew, and only its counters go on. So do all when
        copying ends, or a request that had been sampled before could still be copied long after.
        """
        check_change(self.config, config, self.counters.arms)
        self.counters.know(arm.name for arm in config.arms)
        stays = config.copy_headers == self.config.copy_headers
        stays &= config.mode != "off" or self.config.mode == "off"
        kept = {_settings(mirror.arm): mirror for mirror in self.arms} if stays else {}
        arms = [
            kept.get(_settings(arm)) or Mirror(arm, config, self.counters.arms[arm.name], self.log.write)
            for arm in config.arms
        ]
        same = _connections(config.primary) == _connections(self.config.primary)
        pool = self.pool if same else _pool(config.primary)
        return _router(config, self.unit_key, self.incarnation, self.counters, self.log, pool, arms, self.samplers)

    def serves(self, request: Request) -> bool:
        """Whether the request may go to the primary; the routes may, whatever `private_paths` says."""
        return request.target.partition(b"?")[0] in self.paths or not is_private(request.target, self.private)

    def refuse(self) -> None:
        """Count a request that was none, or not for the primary."""
        for mirror in self.arms:
            mirror.counters.refuse()


def check_change(before: RouterConfig, config: RouterConfig, known: Iterable[str]) -> None:
    """What a running router cannot do; `known` are the arms it has ever had. `ValueError` names the field."""
    for each in FIXED:
        if (was := getattr(before, each)) != (wanted := getattr(config, each)):
            raise ValueError(
                f"{each}: a running router cannot change it from {was!r} to {wanted!r}; "
                "leave it as it was, or start the router anew"
            )
    if len(names := {*known, *(arm.name for arm in config.arms)}) > MOST_ARMS:
        raise ValueError(
            f"arms: with these the router has had {len(names)}, and {MOST_ARMS} is the most; "
            "use names again, or start the router anew"
        )


def without_copies(config: RouterConfig) -> RouterConfig:
    """The same configuration in mode off: the primary answers, nothing is copied and nobody is shown anything else."""
    return msgspec.structs.replace(config, mode="off", split=None)


def _router(
    config: RouterConfig,
    unit_key: bytes,
    incarnation: str,
    counters: Counters,
    log: PairLog,
    pool: Pool,
    arms: list[Mirror],
    before: dict[str, Sampler],
) -> Router:
    split = Splitter.of(config, arms, counters, log)
    samplers = {
        arm.name: sampler_of(arm.sampling, 0.0 if config.mode == "off" else arm.fraction, before.get(arm.name))
        for arm in config.arms
    }
    routes = frozenset((route.method.encode(), route.path.encode()) for route in config.routes)
    return Router(
        config=config,
        unit_key=unit_key,
        incarnation=incarnation,
        counters=counters,
        log=log,
        pool=pool,
        arms=arms,
        samplers=samplers,
        shown=tuple((each, samplers[each.arm.name]) for each in arms if split is None or each is not split.mirror),
        split=split,
        routes=routes,
        paths=frozenset(path for _, path in routes),
        private=frozenset(path.encode() for path in config.private_paths),
        parameter=config.unit_parameter.encode(),
    )


def _pool(primary: Primary) -> Pool:
    return Pool(*address_of("primary.url", primary.url), primary.idle_connections, primary.deadline_ms / 1000)


def _connections(primary: Primary) -> Primary:
    """What the connections to the primary depend on."""
    return msgspec.structs.replace(primary, version="")


def _settings(arm: Arm) -> bytes:
    """What an arm's connections, queue, breaker and records depend on; not its share of the requests."""
    return msgspec.json.encode(msgspec.structs.replace(arm, fraction=1.0, sampling="hash"), order="sorted")
