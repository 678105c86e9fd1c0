"""Promotions against MLflow's own handlers over sqlite, with faults put in between."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import httpx
import pytest

from bentos.errors import PromotionLostError, RegistryError
from bentos.promotion_log import LOG
from bentos.promotions import Promotions
from bentos.registry import MODEL, Registry
from bentos.settings import RegistrySettings
from tests.mlflow_stores import add_versions, opened
from training.local_registry import Handlers

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
Send = Callable[[httpx.Request], Awaitable[httpx.Response]]
CREATE = "POST /api/2.0/mlflow/model-versions/create"
SET_ALIAS = "POST /api/2.0/mlflow/registered-models/alias"
SEARCH = "GET /api/2.0/mlflow/model-versions/search"


class Faulty(httpx.AsyncBaseTransport):
    """MLflow behind a bad line: `faults[method and path]` are taken one per such request, `None` lets it pass."""

    def __init__(self, uri: str, **faults: list[Callable[[httpx.Request, Send], Awaitable[httpx.Response]] | None]):
        self._inner = Handlers(uri)
        self.faults = faults
        self.seen: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        key = f"{request.method} {request.url.path}"
        self.seen.append(key)
        waiting = self.faults.get(key, [])
        fault = waiting.pop(0) if waiting else None
        return await (fault(request, self._inner.handle_async_request) if fault else self._pass(request))

    async def _pass(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)


async def lost_request(request: httpx.Request, send: Send) -> httpx.Response:
    raise httpx.ConnectError("no route")


async def lost_answer(request: httpx.Request, send: Send) -> httpx.Response:
    await send(request)
    raise httpx.ReadError("connection reset")


async def busy(request: httpx.Request, send: Send) -> httpx.Response:
    """What MLflow says when writers were in each other's way three times."""
    message = "Model Version creation error (name=m). Giving up after 3 attempts."
    return httpx.Response(500, json={"error_code": "INTERNAL_ERROR", "message": message})


async def busy_though_done(request: httpx.Request, send: Send) -> httpx.Response:
    await send(request)
    return await busy(request, send)


async def stale(request: httpx.Request, send: Send) -> httpx.Response:
    """A replica that has not heard of anything yet."""
    return httpx.Response(200, json={})


async def killed(request: httpx.Request, send: Send) -> httpx.Response:
    raise KeyboardInterrupt


def faulty(uri: str, **faults: object) -> Registry:
    settings = RegistrySettings.load({})
    return Registry(uri, settings, Faulty(uri, **faults))  # type: ignore[arg-type]


@pytest.fixture
async def registry(store: str) -> Registry:
    """A registry with five versions."""
    registry = opened(store)
    await add_versions(registry, 5)
    return registry


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bentos.appending.PAUSE_S", 0.0)


async def state(registry: Registry, alias: str = "champion") -> tuple[int | None, int | None]:
    """Where the alias is, and where the log says it is."""
    last = (await Promotions(registry).read()).last(alias)
    return (await registry.aliases()).get(alias), last.to if last else None


async def test_a_promotion_moves_the_alias_and_records_the_version_before(registry: Registry) -> None:
    promotions = Promotions(registry)
    first = await promotions.promote("champion", 1, "ann")
    second = await promotions.promote("champion", 3, "bob", "PASS of the gate")
    assert first is not None
    assert second is not None
    assert (first.origin, first.to, first.after, first.by) == (None, 1, 0, "ann")
    assert (second.origin, second.to, second.after, second.reason) == (1, 3, first.number, "PASS of the gate")
    assert await state(registry) == (3, 3)
    assert await promotions.promote("champion", 3, "cid") is None
    assert len((await promotions.read()).records) == 2


async def test_the_first_record_starts_from_where_the_alias_was_put_by_other_means(registry: Registry) -> None:
    await registry.set_alias("champion", 2)
    record = await Promotions(registry).promote("champion", 4, "ann")
    assert record is not None
    assert record.origin == 2
    back = await Promotions(registry).rollback("champion", "ann")
    assert back.to == 2


async def test_rollback_walks_back_and_never_to_what_was_rolled_back(registry: Registry) -> None:
    promotions = Promotions(registry)
    for number in (1, 2, 3):
        await promotions.promote("champion", number, "ann")
    assert (await promotions.rollback("champion", "ann")).to == 2
    await promotions.promote("champion", 4, "ann")
    assert (await promotions.rollback("champion", "ann")).to == 2
    assert (await promotions.rollback("champion", "ann")).to == 1
    assert await state(registry) == (1, 1)
    with pytest.raises(RegistryError, match=r"no version before .* promote VERSION"):
        await promotions.rollback("champion", "ann")


async def test_rollback_to_a_version_that_was_deleted_says_so_and_moves_nothing(registry: Registry) -> None:
    promotions = Promotions(registry)
    await promotions.promote("champion", 1, "ann")
    await promotions.promote("champion", 2, "ann")
    await delete(registry, MODEL, 1)
    with pytest.raises(RegistryError, match="version 1, the one before, was deleted"):
        await promotions.rollback("champion", "ann")
    assert await state(registry) == (2, 2)


async def test_from_another_version_than_expected_nothing_is_moved(registry: Registry) -> None:
    promotions = Promotions(registry)
    await promotions.promote("champion", 1, "ann", expected=None)
    with pytest.raises(PromotionLostError, match=r"champion is at version 1, not at version 2 \(ann moved champion to"):
        await promotions.promote("champion", 3, "bob", expected=2)
    with pytest.raises(PromotionLostError, match="challenger is not set, not at version 2"):
        await promotions.rollback("challenger", "bob", expected=2)
    assert await promotions.promote("champion", 3, "bob", expected=1) is not None


async def test_two_rollbacks_that_expect_the_same_go_back_once(registry: Registry) -> None:
    promotions = Promotions(registry)
    for number in (1, 2, 3):
        await promotions.promote("champion", number, "ann")
    await promotions.rollback("champion", "ann", expected=3)
    with pytest.raises(PromotionLostError):
        await promotions.rollback("champion", "bob", expected=3)
    assert await state(registry) == (2, 2)


async def test_the_loser_is_told_by_whom_with_what_and_when_and_changes_nothing(registry: Registry, store: str) -> None:
    async def after_bob(request: httpx.Request, send: Send) -> httpx.Response:
        await Promotions(registry).promote("champion", 2, "bob")
        return await send(request)

    await Promotions(registry).promote("champion", 1, "ann")
    late = faulty(store, **{CREATE: [after_bob]})
    told = r"lost: bob moved champion from version 1 to version 2 at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC \(record 2\)"
    with pytest.raises(PromotionLostError, match=told):
        await Promotions(late).promote("champion", 3, "cid")
    assert await state(registry) == (2, 2)
    assert [each.counts for each in (await Promotions(registry).read()).records] == [True, True, False]
    assert await Promotions(late).promote("champion", 3, "cid") is not None


async def test_two_winners_that_set_the_alias_out_of_order_end_where_the_log_is(registry: Registry, store: str) -> None:
    async def after_bob(request: httpx.Request, send: Send) -> httpx.Response:
        """Ann has won, and sets the alias only after Bob has won and set it."""
        await Promotions(registry).promote("champion", 2, "bob")
        return await send(request)

    slow = faulty(store, **{SET_ALIAS: [after_bob]})
    record = await Promotions(slow).promote("champion", 1, "ann")
    assert record is not None
    assert record.counts
    assert await state(registry) == (2, 2)


@pytest.mark.parametrize("next_command", ["the same", "another", "rollback"])
async def test_a_promotion_killed_before_its_alias_is_finished_by_the_next_command(
    registry: Registry, store: str, next_command: str
) -> None:
    promotions = Promotions(registry)
    await promotions.promote("champion", 1, "ann")
    with pytest.raises(KeyboardInterrupt):
        await Promotions(faulty(store, **{SET_ALIAS: [killed]})).promote("champion", 2, "bob")
    assert await state(registry) == (1, 2)
    if next_command == "the same":
        assert await promotions.promote("champion", 2, "bob") is None
        assert await state(registry) == (2, 2)
    elif next_command == "another":
        record = await promotions.promote("champion", 3, "cid")
        assert record is not None
        assert record.origin == 2
        assert await state(registry) == (3, 3)
    else:
        assert (await promotions.rollback("champion", "cid")).to == 1
        assert await state(registry) == (1, 1)


async def test_an_alias_that_does_not_follow_is_told_with_what_finishes_it(registry: Registry, store: str) -> None:
    line = faulty(store, **{SET_ALIAS: [lost_request]})
    with pytest.raises(RegistryError, match=r"record 1 moves champion to version 2, but .* models promote 2 --alias"):
        await Promotions(line).promote("champion", 2, "ann")
    assert await Promotions(registry).promote("champion", 2, "ann") is None
    assert await state(registry) == (2, 2)


@pytest.mark.parametrize("fault", [lost_answer, busy_though_done])
async def test_an_answer_that_was_lost_is_found_in_the_log(registry: Registry, store: str, fault: object) -> None:
    record = await Promotions(faulty(store, **{CREATE: [fault]})).promote("champion", 2, "ann")
    assert record is not None
    assert len((await Promotions(registry).read()).records) == 1
    assert await state(registry) == (2, 2)


async def test_a_busy_registry_is_asked_again(registry: Registry, store: str) -> None:
    record = await Promotions(faulty(store, **{CREATE: [busy, busy]})).promote("champion", 2, "ann")
    assert record is not None
    assert await state(registry) == (2, 2)


async def test_a_registry_that_stays_busy_ends_the_asking_and_nothing_was_moved(registry: Registry, store: str) -> None:
    line = faulty(store, **{CREATE: [busy] * 100})
    with pytest.raises(RegistryError, match=r"whether champion was moved is not known: .*Giving up after 3 attempts"):
        await Promotions(line).promote("champion", 2, "ann")
    assert await state(registry) == (None, None)


async def test_a_record_that_a_replica_does_not_show_yet_is_waited_for(registry: Registry, store: str) -> None:
    await Promotions(registry).promote("champion", 1, "ann")
    line = faulty(store, **{SEARCH: [None, stale, stale]})
    assert await Promotions(line).promote("champion", 2, "ann") is not None
    assert len((await Promotions(registry).read()).records) == 2


async def test_a_lost_request_says_that_it_is_not_known_and_what_is_safe_to_repeat(
    registry: Registry, store: str
) -> None:
    await Promotions(registry).promote("champion", 1, "ann")
    line = faulty(store, **{CREATE: [lost_request]})
    with pytest.raises(RegistryError, match=r"whether champion was moved is not known: .*no route.*--from 1"):
        await Promotions(line).promote("champion", 2, "ann")
    assert await state(registry) == (1, 1)


async def test_a_version_that_is_not_registered_leaves_no_record(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"version=99\) not found"):
        await Promotions(registry).promote("champion", 99, "ann")
    assert (await Promotions(registry).read()).records == []


async def test_a_deleted_champion_can_be_followed_by_another(registry: Registry) -> None:
    promotions = Promotions(registry)
    await promotions.promote("champion", 1, "ann")
    await delete(registry, MODEL, 1)
    assert await state(registry) == (None, 1)
    record = await promotions.promote("champion", 2, "ann")
    assert record is not None
    assert record.origin == 1
    assert await state(registry) == (2, 2)


async def test_a_log_with_a_hole_is_not_trusted_and_a_new_one_goes_on_from_the_alias(registry: Registry) -> None:
    promotions = Promotions(registry)
    await promotions.promote("champion", 1, "ann")
    await promotions.promote("champion", 2, "ann")
    await delete(registry, LOG, 1)
    with pytest.raises(RegistryError, match=r"record 1 of .*-promotions was deleted.*begin a new log"):
        await promotions.promote("champion", 3, "ann")
    assert (await registry.aliases())["champion"] == 2
    await registry.delete_model(LOG)
    record = await promotions.promote("champion", 3, "ann")
    assert record is not None
    assert record.origin == 2


@pytest.mark.parametrize("alias", ["latest", "Latest", "v3", "V3", "7", "", "a b", "ä", "x" * 256])
async def test_what_can_be_no_alias_is_refused_before_anything_is_asked(registry: Registry, alias: str) -> None:
    with pytest.raises(ValueError, match="cannot be an alias"):
        await Promotions(registry).promote(alias, 1, "ann")


async def delete(registry: Registry, model: str, number: int) -> None:
    ask = functools.partial(registry._connection.ask, dict, "DELETE", "model-versions/delete")
    await ask(name=model, version=str(number))
