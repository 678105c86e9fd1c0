"""Versions, aliases and runs as MLflow itself answers about them."""

from __future__ import annotations

import pytest

from bentos.errors import RegistryError
from bentos.registry import MODEL, Registry
from tests.mlflow_stores import add_versions, opened

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]


@pytest.fixture
def registry(store: str) -> Registry:
    return opened(store)


async def test_a_registry_with_nothing_in_it_answers_with_nothing(registry: Registry) -> None:
    assert await registry.champion() is None
    assert await registry.aliases() == {}
    assert await registry.versions() == []
    assert await registry.runs("evaluation") == []
    with pytest.raises(RegistryError, match=r"has no version '1'; it has none\. Give a number, an alias, a bundle"):
        await registry.find("1")


async def test_the_champion_is_read_by_its_alias(registry: Registry) -> None:
    await add_versions(registry, 2)
    assert await registry.champion() is None
    await registry.set_alias("champion", 2)
    champion = await registry.champion()
    assert champion is not None
    assert (champion.number, champion.tag("bento"), champion.tag("nothing")) == (2, "m:000000000102", "")
    assert champion.created_ms > 1_700_000_000_000
    assert await registry.aliases() == {"champion": 2}


@pytest.mark.parametrize("wanted", ["2", "challenger", "000000000102", "m:000000000102"])
async def test_a_version_is_found_by_number_alias_bundle_and_bento(registry: Registry, wanted: str) -> None:
    await add_versions(registry, 3)
    await registry.set_alias("challenger", 2)
    assert (await registry.find(wanted)).number == 2


@pytest.mark.parametrize("wanted", ["4", "0", "nobody", "00000000010a", "other:000000000101", "", "1 or 2", "'"])
async def test_what_is_not_there_is_told_with_what_is(registry: Registry, wanted: str) -> None:
    await add_versions(registry, 3)
    with pytest.raises(RegistryError, match=r"has no version .*; it has 1 to 3"):
        await registry.find(wanted)


async def test_of_two_numbers_with_one_bundle_the_first_is_meant_and_of_two_names_neither(registry: Registry) -> None:
    await registry.ensure_model(MODEL)
    for bento in ("a:abcdefabcdef", "a:abcdefabcdef", "b:abcdefabcdef"):
        tags = {"bundle_version": "abcdefabcdef", "bento": bento}
        await registry.create_version(MODEL, "mlflow-artifacts-of-a-test:/bundle", tags)
    assert (await registry.find("a:abcdefabcdef")).number == 1
    with pytest.raises(RegistryError, match=r"abcdefabcdef is a:abcdefabcdef, b:abcdefabcdef\. Say which by its bento"):
        await registry.find("abcdefabcdef")


async def test_versions_come_in_the_order_of_their_numbers_over_all_pages(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_versions(registry, 5)
    monkeypatch.setattr("bentos.registry.PAGE", 2)
    assert [each.number for each in await registry.versions()] == [1, 2, 3, 4, 5]
    monkeypatch.setattr("bentos.registry.PAGES", 2)
    with pytest.raises(RegistryError, match="no last page"):
        await registry.versions()


async def test_a_version_that_is_not_there_is_missing(registry: Registry) -> None:
    await add_versions(registry, 1)
    assert (await registry.version(1)).number == 1
    with pytest.raises(RegistryError) as raised:
        await registry.version(2)
    assert raised.value.missing
    with pytest.raises(RegistryError, match="runs/get: 404"):
        await registry.run("0" * 32)
