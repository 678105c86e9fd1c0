"""The registry's champion beside ours: current, other, none, unknown; asked rarely and never for long."""

from __future__ import annotations

import asyncio

import pytest

from bentos import champion as room
from bentos.champion import REMEMBERED_SECONDS, RETRY_SECONDS, Champion, registered
from bentos.messages import RegistryInfo
from tests.mlflow_stores import add_versions, opened


class Registry:
    def __init__(self, tag: str | None) -> None:
        self.tag, self.asked, self.error = tag, 0, False
        self.now = 100.0

    async def ask(self) -> str | None:
        self.asked += 1
        if self.error:
            raise OSError("connection refused")
        return self.tag


async def test_the_champion_is_compared_and_remembered_for_a_while() -> None:
    registry = Registry("champion:a")
    champion = Champion(registry.ask, lambda: registry.now)
    assert await champion.against("champion:a") == RegistryInfo("current", "champion:a")
    assert await champion.against("champion:b") == RegistryInfo("other", "champion:a")
    registry.tag = None
    assert (await champion.against("champion:a")).state == "current"
    assert registry.asked == 1
    registry.now += REMEMBERED_SECONDS
    assert await champion.against("champion:a") == RegistryInfo("none", None)


async def test_a_registry_that_fails_is_unknown_and_asked_again_after_a_while() -> None:
    registry = Registry("champion:a")
    registry.error = True
    champion = Champion(registry.ask, lambda: registry.now)
    for _ in range(3):
        assert await champion.against("champion:a") == RegistryInfo("unknown", None)
    assert registry.asked == 1
    registry.now += RETRY_SECONDS
    registry.error = False
    assert (await champion.against("champion:a")).state == "current"


async def test_a_registry_that_hangs_is_unknown_within_the_deadline(monkeypatch) -> None:
    monkeypatch.setattr(room, "DEADLINE_SECONDS", 0.01)
    champion = Champion(asyncio.Event().wait)  # type: ignore[arg-type]
    assert (await champion.against("champion:a")).state == "unknown"


async def test_many_questions_at_once_are_one_to_the_registry() -> None:
    registry = Registry("champion:a")
    champion = Champion(registry.ask, lambda: registry.now)
    found = await asyncio.gather(*(champion.against("champion:a") for _ in range(20)))
    assert {each.state for each in found} == {"current"}
    assert registry.asked == 1


async def test_without_a_registry_it_is_off() -> None:
    assert await Champion(None).against("champion:a") == RegistryInfo("off", None)


@pytest.mark.xdist_group("mlflow")
@pytest.mark.filterwarnings("ignore")  # MLflow's own
async def test_a_real_registry_is_asked_by_its_alias(store: str) -> None:
    registry = opened(store)
    clock = iter(range(0, 1_000, 100))
    champion = Champion(registered(registry), lambda: float(next(clock)))
    await add_versions(registry, 2)
    assert (await champion.against("m:000000000102")).state == "none"
    await registry.set_alias("champion", 2)
    assert await champion.against("m:000000000102") == RegistryInfo("current", "m:000000000102")
    await registry.set_alias("champion", 1)
    assert await champion.against("m:000000000102") == RegistryInfo("other", "m:000000000101")
