"""A service without a server: the front over the application, features in memory, and a client that reaches both."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from bentos.api import Api, create_app
from bentos.bundle import Bundle
from bentos.champion import Champion
from bentos.errors import StoreWriteError
from bentos.features import Event, EventStore, Features, FeatureStore, Missing, NewEvent
from bentos.front import Front
from bentos.lifecycle import Lifecycle
from bentos.metrics import ServiceMetrics
from bentos.ranking_settings import RankingSettings
from bentos.recommend import Ladder


class Remembered(FeatureStore, EventStore):
    """A store in memory; what it does not know is an unknown user. `fault`: what every write fails with."""

    def __init__(self, known: dict[str, Features | Missing] | None = None) -> None:
        self.known = known or {}
        self.events: dict[str, tuple[str, Event]] = {}
        self.fault = ""

    async def read(self, user_id: str) -> Features | Missing:
        return self.known.get(user_id, Features(None, frozenset()))

    async def read_many(self, user_ids: Sequence[str]) -> list[Features | Missing]:
        return [await self.read(user_id) for user_id in user_ids]

    async def add_many(self, events: Sequence[NewEvent]) -> int:
        self._ensure()
        before = len(self.events)
        for user_id, event_id, event in events:
            self.events.setdefault(event_id, (user_id, event))
        return len(self.events) - before

    async def erase(self, user_id: str) -> int:
        self._ensure()
        found = [event_id for event_id, (owner, _) in self.events.items() if owner == user_id]
        for event_id in found:
            del self.events[event_id]
        return len(found)

    def _ensure(self) -> None:
        if self.fault:
            raise StoreWriteError(self.fault)


class Counted(ServiceMetrics):
    def __init__(self) -> None:
        self.lists: list[tuple[str, str]] = []
        self.requests: list[tuple[str, int, str]] = []

    def answered(self, source: str, fault: str) -> None:
        self.lists.append((source, fault))

    def finished(self, route: str, status: int, source: str, seconds: float) -> None:
        assert seconds > 0
        self.requests.append((route, status, source))

    def in_flight(self, requests: int) -> None:
        pass


class Service:
    """One service on `bundle`; `client` asks it. `events` is `store` when that is one in memory."""

    def __init__(
        self,
        bundle: Bundle,
        store: FeatureStore,
        events: EventStore | None = None,
        *,
        champion: Champion | None = None,
        admin_token: str = "",
        logical_clock: bool = False,
        ranking: RankingSettings | None = None,
        retrieved_share: float = 0.0,
        most: int = 16,
    ) -> None:
        self.bundle, self.metrics, self.lifecycle = bundle, Counted(), Lifecycle()
        self.ladder = Ladder(bundle, store, ranking)
        self.api = Api(
            self.ladder,
            events or (store if isinstance(store, Remembered) else None),
            champion or Champion(None),
            metrics=self.metrics,
            admin_token=admin_token,
            logical_clock=logical_clock,
            retrieved_share=retrieved_share,
        )
        self.lifecycle.open(self.api, self.metrics, most)
        self.front = Front(create_app(self.lifecycle.api), self.lifecycle)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.front), base_url="http://bento")
