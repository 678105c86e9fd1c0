"""What all exchanges of one router share: the configuration, the primary's pool, the arms, the counters and the log.

Next module: `shadow.router.exchange`.
"""

from __future__ import annotations

from dataclasses import dataclass

from shadow.router.config import RouterConfig, is_private
from shadow.router.config import upstream as address_of
from shadow.router.counters import Counters
from shadow.router.http1 import Request
from shadow.router.mirror import Mirror
from shadow.router.pairlog import PairLog
from shadow.router.pool import Pool
from shadow.router.split import Splitter


@dataclass
class Router:
    """Made once per process, inside a running loop."""

    config: RouterConfig
    unit_key: bytes
    incarnation: str
    counters: Counters
    log: PairLog
    pool: Pool
    arms: list[Mirror]
    """All arms, in the order of the configuration."""
    mirrors: list[Mirror]
    """Those that get copies: all but the one that answers users in a split."""
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
        """A router for `config`."""
        counters = Counters.of(arm.name for arm in config.arms)
        primary = config.primary
        host, port = address_of("primary.url", primary.url)
        arms = [Mirror(arm, config, counters.arms[arm.name], log.write) for arm in config.arms]
        split = Splitter.of(config, arms, counters, log)
        routes = frozenset((route.method.encode(), route.path.encode()) for route in config.routes)
        return Router(
            config=config,
            unit_key=unit_key,
            incarnation=incarnation,
            counters=counters,
            log=log,
            pool=Pool(host, port, primary.idle_connections, primary.deadline_ms / 1000),
            arms=arms,
            mirrors=[mirror for mirror in arms if split is None or mirror is not split.mirror],
            split=split,
            routes=routes,
            paths=frozenset(path for _, path in routes),
            private=frozenset(path.encode() for path in config.private_paths),
            parameter=config.unit_parameter.encode(),
        )

    def serves(self, request: Request) -> bool:
        """Whether the request may go to the primary; the routes may, whatever `private_paths` says."""
        return request.target.partition(b"?")[0] in self.paths or not is_private(request.target, self.private)

    def refuse(self) -> None:
        """Count a request that was none, or not for the primary."""
        for mirror in self.arms:
            mirror.counters.refuse()

    def document(self) -> dict[str, object]:
        """What `/counters` shows."""
        document = self.counters.document()
        for mirror in self.arms:
            document["arms"][mirror.arm.name]["queue_bytes"] = mirror.queued_bytes
        names = {"incarnation": self.incarnation, "experiment": self.config.experiment}
        return names | document | {"pair_log": self.log.document()}
