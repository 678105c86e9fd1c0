"""What every bento owes, whatever its model: `BentoContract`, asked in this process and over HTTP.

A model's class gives the fixture `bundle`, a way's class (`InProcess`, `OverHttp`) the fixture `client`. What is
expected is worked out here from the bundle's own vectors with numpy, not by the code under test.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bentos.bundle import Bundle, load_bundle
from bentos.errors import BundleError
from bentos.event_store import RedisEventStore
from bentos.feature_facts import FACTS, load_facts
from bentos.feature_loading import connected, load_vectors
from bentos.feature_scripts import EventLimits
from bentos.feature_store import RedisFeatureStore
from shadow.processes import Stage, StepError, accepts, answers
from shadow.rehearsal import HOST, command
from tests.bentos.fronts import Service
from tests.integration.served import build, environment, served
from tests.ports import free_port

COLD, SATED, NEW = "with history but no vector", "has seen everything", "nobody has met ümläut 🎬"
TOKEN = "only for this test"
DEADLINE_SECONDS = 2.0
TOLERANCE = 1e-4


def write_facts(path: Path, bundle: Bundle) -> Path:
    """A user with a vector who has seen two items, one with four liked items alone, one who has seen them all."""
    items = bundle.item_ids
    seen = {bundle.user_ids[0]: items[:2], COLD: items[1:5], SATED: items}
    rows = [(user, item, 5.0, moment) for user in sorted(seen) for moment, item in enumerate(seen[user])]
    pq.write_table(pa.Table.from_pylist([dict(zip(FACTS.names, row, strict=True)) for row in rows], FACTS), path)
    return path


def load(url: str, bundle: Bundle, facts: Path) -> None:
    with connected(url) as client:
        load_facts(client, facts, lambda done, total: None)
        load_vectors(client, bundle, lambda done, total: None)


class InProcess:
    """The service's own objects in the test's process, with a real Redis."""

    @pytest.fixture(scope="class")
    @classmethod
    def redis_url(cls, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        directory, port = tmp_path_factory.mktemp("in-process"), free_port()
        url = f"redis://{HOST}:{port}/0"
        with Stage(directory / "logs", dict(os.environ)) as stage:
            stage.start("redis", command("redis", "--port", str(port), "--dir", directory), lambda: accepts(HOST, port))
            load(url, bundle, write_facts(directory / "facts.parquet", bundle))
            yield url

    @pytest.fixture
    async def client(self, bundle: Bundle, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
        manifest = bundle.manifest
        store = RedisFeatureStore(
            redis_url,
            manifest.version,
            manifest.users,
            manifest.dimension,
            DEADLINE_SECONDS,
            2,
            batch_deadline_seconds=DEADLINE_SECONDS,
        )
        events = RedisEventStore(redis_url, DEADLINE_SECONDS, 1, EventLimits())
        async with Service(bundle, store, events, admin_token=TOKEN).client as client:
            yield client
        await store.close()
        await events.close()

    def test_a_tampered_bundle_is_refused_by_its_file(self, bundle: Bundle, tmp_path: Path) -> None:
        shutil.copytree(bundle.directory, tmp_path / "copy")
        flip_a_bit(tmp_path / "copy" / "item_vectors.npy")
        with pytest.raises(BundleError, match="SHA-256") as refused:
            load_bundle(tmp_path / "copy")
        assert refused.value.file.name == "item_vectors.npy"


class OverHttp:
    """`bentoml serve` of the built bento, with a real Redis."""

    @pytest.fixture(scope="class")
    @classmethod
    def home(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("over-http") / "bentoml"

    @pytest.fixture(scope="class")
    @classmethod
    def tag(cls, bundle: Bundle, home: Path) -> str:
        return build(bundle.directory, home)

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, bundle: Bundle, home: Path, tag: str) -> Iterator[str]:
        assert tag == bundle.manifest.tag
        with served(tag, home, UNDERSTUDY_ADMIN_TOKEN=TOKEN, UNDERSTUDY_EVENT_DEADLINE_MS="2000") as service:
            load(service.redis_url, bundle, write_facts(home.parent / "facts.parquet", bundle))
            yield service.url

    @pytest.fixture
    async def client(self, url: str) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield client

    def test_a_tampered_bundle_is_refused_by_its_file(self, home: Path, tag: str, tmp_path: Path) -> None:
        shutil.copytree(home, tmp_path / "bentoml", symlinks=True, ignore=shutil.ignore_patterns("tmp", "*.sock"))
        name, version = tag.split(":")
        flip_a_bit(tmp_path / "bentoml" / "models" / name / version / "item_vectors.npy")
        port = free_port()
        url = f"http://{HOST}:{port}/readyz"
        with Stage(tmp_path / "logs", environment(tmp_path / "bentoml")) as stage:
            with pytest.raises(StepError, match=r"ended with code [1-9]") as refused:
                stage.start("bento", command("serve", tag, "--port", str(port)), lambda: answers(url), seconds=60)
            assert "item_vectors.npy" in str(refused.value)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


class BentoContract:
    """The contract. `bundle`: the loaded bundle of the model."""

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls) -> Bundle:
        raise NotImplementedError

    async def ask(self, client: httpx.AsyncClient, user: str, k: object = 10) -> dict:
        answer = await client.get("/recommend", params={"user_id": user, "k": str(k)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(self, answer: dict) -> list[str]:
        found = [item["item_id"] for item in answer["items"]]
        assert len(set(found)) == len(found)
        return found

    async def test_a_known_user_gets_the_best_unseen_items_by_inner_product(
        self, client: httpx.AsyncClient, bundle: Bundle
    ) -> None:
        answer = await self.ask(client, bundle.user_ids[0])
        assert answer["source"] == "hybrid"
        scores = bundle.item_vectors @ bundle.user_vectors[0]
        scores[:2] = -np.inf
        best = np.sort(scores)[::-1][: min(10, len(scores) - 2)]
        np.testing.assert_allclose([item["score"] for item in answer["items"]], best, atol=TOLERANCE)
        row_of = {item: row for row, item in enumerate(bundle.item_ids)}
        found = [scores[row_of[item]] for item in self.ids(answer)]
        np.testing.assert_allclose(found, best, atol=TOLERANCE)

    async def test_an_unknown_user_gets_what_is_popular(self, client: httpx.AsyncClient, bundle: Bundle) -> None:
        answer = await self.ask(client, NEW)
        assert answer["source"] in ("popular_recent", "popular")
        order = bundle.recent_popularity if answer["source"] == "popular_recent" else bundle.popularity
        assert self.ids(answer) == [bundle.item_ids[row] for row in order[: min(10, len(order))]]

    async def test_a_user_with_history_alone_is_folded_in_and_gets_nothing_seen(
        self, client: httpx.AsyncClient, bundle: Bundle
    ) -> None:
        answer = await self.ask(client, COLD, 100)
        assert answer["source"] == "fold_in"
        assert len(answer["items"]) == min(100, len(bundle.item_ids) - 4)
        assert not set(self.ids(answer)) & set(bundle.item_ids[1:5])

    @pytest.mark.parametrize("user", ["known", COLD, NEW])
    @pytest.mark.parametrize("k", [1, 10, 99, 100])
    async def test_k_items_or_all_there_are(self, client: httpx.AsyncClient, bundle: Bundle, user: str, k: int) -> None:
        name, seen = {"known": (bundle.user_ids[0], 2), COLD: (COLD, 4), NEW: (NEW, 0)}[user]
        answer = await self.ask(client, name, k)
        assert len(self.ids(answer)) == min(k, len(bundle.item_ids) - seen)
        # Asking for fewer changes nothing about the first.
        assert self.ids(await self.ask(client, name, 1)) == self.ids(answer)[:1]

    @pytest.mark.parametrize("k", [0, 101, -1, "ten", "", "1.5", "1e1"])
    async def test_another_k_is_refused_by_name(self, client: httpx.AsyncClient, bundle: Bundle, k: object) -> None:
        answer = await client.get("/recommend", params={"user_id": bundle.user_ids[0], "k": str(k)})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["parameter"] == "k"

    async def test_who_has_seen_everything_gets_an_empty_list_and_no_error(self, client: httpx.AsyncClient) -> None:
        assert (await self.ask(client, SATED))["items"] == []

    async def test_every_answer_names_the_version_of_the_bundle(
        self, client: httpx.AsyncClient, bundle: Bundle
    ) -> None:
        manifest = bundle.manifest
        expected = {"name": manifest.name, "version": manifest.version, "bento": manifest.tag}
        for path in ("/recommend?user_id=a", "/model"):
            assert (await client.get(path)).headers["x-model-version"] == manifest.version
        assert (await self.ask(client, NEW))["model"] == expected
        model = (await client.get("/model")).json()
        assert {key: model[key] for key in expected} == expected
        assert (model["items"], model["dimension"]) == (manifest.items, manifest.dimension)

    async def test_titles_are_the_catalogue_s(self, client: httpx.AsyncClient, bundle: Bundle) -> None:
        titles = dict(zip(bundle.item_ids, bundle.catalogue.column("title").to_pylist(), strict=True))
        for item in (await self.ask(client, NEW, 100))["items"]:
            assert item["title"] == titles[item["item_id"]]

    async def test_equal_requests_get_equal_bytes_but_for_the_id(
        self, client: httpx.AsyncClient, bundle: Bundle
    ) -> None:
        for user in (bundle.user_ids[0], COLD, NEW, SATED):
            found = {
                (
                    await client.get("/recommend", params={"user_id": user}, headers={"X-Request-Id": f"id-{number}"})
                ).content.replace(f"id-{number}".encode(), b"")
                for number in range(3)
            }
            assert len(found) == 1

    async def test_a_batch_gives_what_single_requests_give(self, client: httpx.AsyncClient, bundle: Bundle) -> None:
        asked = [{"user_id": user, "k": k} for user in (bundle.user_ids[0], COLD, NEW, SATED) for k in (1, 100)]
        answer = await client.post("/recommend:batch", json={"requests": asked})
        assert answer.status_code == 200, answer.text
        singles = [await self.ask(client, each["user_id"], each["k"]) for each in asked]
        assert answer.json()["answers"] == [{"items": each["items"], "source": each["source"]} for each in singles]

    async def test_an_event_is_kept_once_seen_at_once_and_erased_with_its_user(self, client: httpx.AsyncClient) -> None:
        user = uuid.uuid4().hex
        first = self.ids(await self.ask(client, user))[0]
        event = {"event_id": f"{user}-1", "user_id": user, "item_id": first, "rating": 5, "timestamp_us": 1}
        assert (await client.post("/events", json=event)).json() == {"accepted": 1, "duplicates": 0}
        assert (await client.post("/events", json=event)).json() == {"accepted": 0, "duplicates": 1}
        assert first not in self.ids(await self.ask(client, user, 100))
        assert (await client.delete("/users", params={"user_id": user})).status_code == 401
        erased = await client.delete("/users", params={"user_id": user}, headers={"Authorization": f"Bearer {TOKEN}"})
        assert erased.json()["erased"] > 0
        assert self.ids(await self.ask(client, user))[0] == first
