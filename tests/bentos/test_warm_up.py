"""The warm-up goes the whole way, counts nothing, and does not let a broken service be ready."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from bentos import index as indexes
from bentos.api import Api, create_app
from bentos.bundle import Bundle, load_bundle
from bentos.champion import Champion
from bentos.errors import SmokeError
from bentos.features import FeatureStore
from bentos.front import Front
from bentos.index_lists import IvfIp
from bentos.lifecycle import Lifecycle
from bentos.recommend import Ladder
from bentos.warm_up import KINDS, REQUESTS, check_search, warm_up
from tests.bentos.bundles import synthetic_bundle
from tests.bentos.fronts import Counted


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    synthetic_bundle(tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle")


class Opened:
    """What a service gives the warm-up, with every store and count in sight."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.counted = bundle, Counted()

    def __call__(self, store: FeatureStore) -> ASGIApp:
        lifecycle = Lifecycle()
        api = Api(Ladder(self.bundle, store), None, Champion(None), metrics=self.counted)
        lifecycle.open(api, self.counted, 1)
        return Front(create_app(lifecycle.api), lifecycle)


async def test_hundreds_of_requests_of_every_kind_are_answered(bundle: Bundle) -> None:
    opened = Opened(bundle)
    assert await warm_up(bundle, opened) == REQUESTS >= 200
    sources = {source for _, _, source in opened.counted.requests}
    assert "hybrid" in sources
    assert len(sources) > 1
    assert ("popular", "timeout") in {(s.partition("_")[0], f) for s, f in opened.counted.lists}
    assert {status for _, status, _ in opened.counted.requests} == {200}
    assert len(KINDS) < REQUESTS


@pytest.mark.parametrize("items", [1, 3, 7])
async def test_a_catalogue_smaller_than_a_list_is_no_failure(tmp_path: Path, items: int) -> None:
    synthetic_bundle(tmp_path / "small", items=items)
    bundle = load_bundle(tmp_path / "small")
    assert await warm_up(bundle, Opened(bundle)) == REQUESTS


def test_an_index_over_other_vectors_is_found_out(bundle: Bundle) -> None:
    check_search(bundle)
    with pytest.raises(SmokeError, match="not inner products"):
        check_search(replace(bundle, index=indexes.build(bundle.item_vectors[::-1])))


def test_an_index_that_finds_little_is_found_out(tmp_path: Path) -> None:
    """One that reads the lists farthest from the query."""
    synthetic_bundle(tmp_path / "large", items=2_000)
    bundle = load_bundle(tmp_path / "large")
    poor = indexes.build(bundle.item_vectors, IvfIp(nlist=20, nprobe=4))
    check_search(replace(bundle, index=poor.with_effort(20)))
    centroids = poor.faiss.quantizer.reconstruct_n(0, 20)
    poor.faiss.quantizer.reset()
    poor.faiss.quantizer.add(-centroids)
    with pytest.raises(SmokeError, match="the index finds"):
        check_search(replace(bundle, index=poor.with_effort(4)))


async def test_a_service_that_refuses_or_answers_nonsense_is_found_out(bundle: Bundle) -> None:
    class Empty(Ladder):
        async def recommend(self, user_id: str, k: int, now_us: int | None = None):
            found = await super().recommend(user_id, k, now_us)
            return replace(found, rows=found.rows[:3], scores=found.scores[:3])

    def opened(store: FeatureStore) -> ASGIApp:
        lifecycle = Lifecycle()
        lifecycle.open(Api(Empty(bundle, store), None, Champion(None)), lifecycle.metrics, 1)
        return Front(create_app(lifecycle.api), lifecycle)

    with pytest.raises(SmokeError, match="has 3 items, not 10"):
        await warm_up(bundle, opened)
    closed = Lifecycle()
    with pytest.raises(SmokeError, match="answered 503"):
        await warm_up(bundle, lambda store: Front(create_app(closed.api), closed))
