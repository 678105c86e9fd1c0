"""The HTTP API over the ladder: bad input by name, stable bytes, and every rung labelled."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from bentos.api import create_app
from bentos.bundle import load_bundle
from bentos.features import Features, FeatureStore, Missing
from bentos.recommend import Ladder
from tests.bentos.bundles import synthetic_bundle


class Remembered(FeatureStore):
    """A store in memory; what it does not know is an unknown user."""

    def __init__(self, known: dict[str, Features | Missing]) -> None:
        self.known = known

    async def read(self, user_id: str) -> Features | Missing:
        return self.known.get(user_id, Features(None, frozenset()))


class Counted:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def answered(self, source: str, fault: str) -> None:
        self.calls.append((source, fault))


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def client(tmp_path: Path, counted: Counted) -> httpx.AsyncClient:
    synthetic_bundle(tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    known: dict[str, Features | Missing] = {
        "vector": Features(bundle.user_vectors[0], frozenset({"i0000", "of another catalogue"})),
        "history": Features(None, frozenset({"i0000", "i0002"})),
        "lost": Missing("timeout"),
    }
    ladder = Ladder(bundle, Remembered(known))
    app = create_app(lambda: ladder, bundle.manifest.tag, lambda: counted)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bento")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "user_id"),
        ("?user_id=", "user_id"),
        ("?user_id=" + "x" * 257, "user_id"),
        ("?user_id=%FF%FE", "user_id"),
        ("?user_id=a&k=1_0", "k"),
        ("?user_id=a&k=%2B5", "k"),
        ("?user_id=a&k=%205", "k"),
        ("?user_id=a&k=%D9%A3", "k"),
        ("?user_id=a&user_id=b", "user_id"),
        ("?user_id=a&k=0", "k"),
        ("?user_id=a&k=101", "k"),
        ("?user_id=a&k=ten", "k"),
        ("?user_id=a&k=1&k=2", "k"),
    ],
)
async def test_a_bad_parameter_is_named_as_problem_json(client: httpx.AsyncClient, query: str, parameter: str) -> None:
    answer = await client.get("/recommend" + query)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["parameter"] == parameter


async def test_a_user_with_a_vector_gets_the_search(client: httpx.AsyncClient, counted: Counted) -> None:
    body = (await client.get("/recommend?user_id=vector&k=5")).json()
    assert body["source"] == "hybrid"
    assert len(body["items"]) == 5
    assert "i0000" not in [item["item_id"] for item in body["items"]]
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)
    assert counted.calls == [("hybrid", "")]


async def test_a_user_without_a_vector_gets_what_is_popular_but_nothing_seen(client: httpx.AsyncClient) -> None:
    body = (await client.get("/recommend?user_id=history&k=3")).json()
    assert body["source"] == "popular"
    assert [item["item_id"] for item in body["items"]] == ["i0001", "i0003", "i0004"]
    assert body["items"][0]["title"] == "Film i0001"


async def test_a_lost_store_is_answered_and_counted(client: httpx.AsyncClient, counted: Counted) -> None:
    body = (await client.get("/recommend?user_id=lost")).json()
    assert body["source"] == "popular"
    assert len(body["items"]) == 10
    assert counted.calls == [("popular", "timeout")]


async def test_a_k_beyond_the_catalogue_gives_what_there_is(client: httpx.AsyncClient) -> None:
    assert len((await client.get("/recommend?user_id=new&k=100")).json()["items"]) == 40


async def test_equal_answers_are_equal_bytes_but_for_the_id(client: httpx.AsyncClient) -> None:
    one = await client.get("/recommend?user_id=vector", headers={"X-Request-Id": "one"})
    two = await client.get("/recommend?user_id=vector", headers={"X-Request-Id": "two"})
    assert one.content.replace(b'"one"', b'"two"') == two.content
    assert one.headers["x-request-id"] == json.loads(one.content)["request_id"] == "one"
    assert one.headers["x-model-version"] == one.json()["model"]["version"]
    assert "features;dur=" in one.headers["server-timing"]


async def test_the_model_tells_its_name(client: httpx.AsyncClient) -> None:
    model = (await client.get("/model")).json()
    assert model["bento"] == f"{model['name']}:{model['version']}"
