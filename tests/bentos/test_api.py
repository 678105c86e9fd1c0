"""The HTTP API over the ladder: bad input by name, stable bytes, every rung labelled, nothing lost silently."""

from __future__ import annotations

import asyncio
import json

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.bundle import Bundle, load_bundle
from bentos.errors import WRITE_FAULTS
from bentos.features import Event, Features, Missing
from bentos.messages import BATCH_MOST, Answer, BatchAnswer
from bentos.ranking_settings import RankingSettings
from bentos.requests import BODY_MOST
from tests.bentos.bundles import synthetic_bundle
from tests.bentos.fronts import Remembered, Service

TOKEN = "only for this test"
EVENT = {"event_id": "e1", "user_id": "u", "item_id": "i0003", "rating": 5, "timestamp_us": 7}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("api") / "bundle"
    synthetic_bundle(directory)
    return load_bundle(directory)


@pytest.fixture
def store(bundle: Bundle) -> Remembered:
    return Remembered(
        {
            "vector": Features(bundle.user_vectors[0], frozenset({"i0000", "of another catalogue"})),
            "history": Features(None, frozenset({"i0000", "i0002"})),
            "lost": Missing("timeout"),
        }
    )


@pytest.fixture
def service(bundle: Bundle, store: Remembered) -> Service:
    return Service(bundle, store, admin_token=TOKEN)


@pytest.fixture
def client(service: Service) -> httpx.AsyncClient:
    return service.client


def is_problem(answer: httpx.Response, status: int, kind: str = "") -> dict:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body.get("type", "").endswith(kind)
    return body


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "user_id"),
        ("?user_id=", "user_id"),
        ("?user_id=" + "x" * 257, "user_id"),
        ("?user_id=%FF%FE", "user_id"),
        ("?user_id=a%0Ab", "user_id"),
        ("?user_id=a%0A", "user_id"),
        ("?user_id=a&k=1_0", "k"),
        ("?user_id=a&k=%2B5", "k"),
        ("?user_id=a&k=%205", "k"),
        ("?user_id=a&k=%D9%A3", "k"),
        ("?user_id=a&k=1e1", "k"),
        ("?user_id=a&k=1.0", "k"),
        ("?user_id=a&user_id=b", "user_id"),
        ("?user_id=a&k=0", "k"),
        ("?user_id=a&k=101", "k"),
        ("?user_id=a&k=ten", "k"),
        ("?user_id=a&k=", "k"),
        ("?user_id=a&k=1&k=2", "k"),
        ("?user_id=a" + "&x=1" * 40, "query"),
    ],
)
async def test_a_bad_parameter_is_named_as_problem_json(client: httpx.AsyncClient, query: str, parameter: str) -> None:
    body = is_problem(await client.get("/recommend" + query), 422, "invalid-parameter")
    assert body["parameter"] == parameter


async def test_raw_bytes_in_the_query_are_refused(service: Service) -> None:
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/recommend", "query_string": b"user_id=\xff", "headers": []}
    await service.front(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 422


async def test_a_user_with_a_vector_gets_the_search(client: httpx.AsyncClient, service: Service) -> None:
    body = (await client.get("/recommend?user_id=vector&k=5")).json()
    assert body["source"] == "hybrid"
    assert len(body["items"]) == 5
    assert "i0000" not in [item["item_id"] for item in body["items"]]
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)
    assert service.metrics.lists == [("hybrid", "")]
    assert service.metrics.requests == [("/recommend", 200, "hybrid")]


async def test_a_lost_store_is_answered_and_counted(client: httpx.AsyncClient, service: Service) -> None:
    body = (await client.get("/recommend?user_id=lost")).json()
    assert body["source"].startswith("popular")
    assert len(body["items"]) == 10
    assert service.metrics.lists == [(body["source"], "timeout")]


async def test_titles_are_the_catalogue_s(client: httpx.AsyncClient) -> None:
    for item in (await client.get("/recommend?user_id=history&k=40")).json()["items"]:
        assert item["title"] == f"Film {item['item_id']}"


@given(
    users=st.lists(st.sampled_from(["vector", "history", "lost", "anybody"]), min_size=1, max_size=8),
    k=st.integers(1, 100),
)
def test_equal_answers_are_equal_bytes_but_for_the_id(bundle: Bundle, users: list[str], k: int) -> None:
    """Two services on equal state, asked in different orders."""

    async def ask(service: Service, order: list[str]) -> dict[str, bytes]:
        found = {}
        for user in order:
            answer = await service.client.get(f"/recommend?user_id={user}&k={k}")
            body = answer.json()
            assert answer.headers["x-request-id"] == body["request_id"]
            assert answer.headers["x-model-version"] == body["model"]["version"]
            assert "features;dur=" in answer.headers["server-timing"]
            found[user] = answer.content.replace(body["request_id"].encode(), b"")
        return found

    def service() -> Service:
        known: dict[str, Features | Missing] = {
            "vector": Features(bundle.user_vectors[0], frozenset({"i0000"})),
            "history": Features(None, frozenset({"i0001"}), (Event("i0001", 5, 1),)),
            "lost": Missing("timeout"),
        }
        return Service(bundle, Remembered(known))

    one, two = asyncio.run(ask(service(), users)), asyncio.run(ask(service(), users[::-1]))
    assert one == two


@pytest.mark.parametrize("given_id", ["a" * 129, "with space", "ümlaut".encode("latin-1"), ""])
async def test_a_request_id_that_cannot_be_passed_on_is_replaced(client: httpx.AsyncClient, given_id: str) -> None:
    answer = await client.get("/recommend?user_id=vector", headers={"X-Request-Id": given_id})
    assert len(answer.json()["request_id"]) == 32
    kept = await client.get("/recommend?user_id=vector", headers={"X-Request-Id": "r-1.2:3_x"})
    assert kept.json()["request_id"] == kept.headers["x-request-id"] == "r-1.2:3_x"


async def test_a_batch_gives_what_single_requests_give(client: httpx.AsyncClient, service: Service) -> None:
    asked = [{"user_id": user, "k": k} for user in ("vector", "history", "lost", "new") for k in (1, 7, 100)]
    answer = await client.post("/recommend:batch", json={"requests": asked})
    body = msgspec.json.decode(answer.content, type=BatchAnswer)
    assert body.request_id == answer.headers["x-request-id"]
    assert len(body.answers) == len(asked)
    for each, request in zip(body.answers, asked, strict=True):
        single = msgspec.json.decode((await client.get("/recommend", params=request)).content, type=Answer)
        assert (each.items, each.source) == (single.items, single.source)
        assert msgspec.to_builtins(body.model) == msgspec.to_builtins(single.model)
    assert service.metrics.requests[0] == ("/recommend:batch", 200, "")
    assert len(service.metrics.lists) == 2 * len(asked)


async def test_a_batch_has_ten_items_each_unless_asked_and_at_most_256_requests(client: httpx.AsyncClient) -> None:
    full = {"requests": [{"user_id": f"u{number}"} for number in range(BATCH_MOST)]}
    answer = await client.post("/recommend:batch", json=full)
    assert {len(each["items"]) for each in answer.json()["answers"]} == {10}
    full["requests"].append({"user_id": "one more"})
    assert is_problem(await client.post("/recommend:batch", json=full), 422)["parameter"] == "requests"


async def test_the_longest_batch_there_can_be_is_not_too_large(client: httpx.AsyncClient) -> None:
    """Ids of characters that JSON escapes to twelve bytes each."""
    full = json.dumps({"requests": [{"user_id": "🎬" * 128 + "é" * 128, "k": 1}] * BATCH_MOST})
    assert len(full) > 500_000
    answer = await client.post("/recommend:batch", content=full, headers={"content-type": "application/json"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        (b"", 400, ""),
        (b"{", 400, ""),
        (b'{"requests": [{"user_id": "\xff"}]}', 400, ""),
        (b'{"requests": [{"user_id": "\\ud800"}]}', 400, ""),
        (b"[" * 100_000, 400, ""),
        (b'{"requests": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", 400, ""),
        (b"[]", 422, "body"),
        (b"{}", 422, "requests"),
        (b'{"requests": []}', 422, "requests"),
        (b'{"requests": [{"user_id": "a"}, {"user_id": "a", "k": 0}]}', 422, "requests[1].k"),
        (b'{"requests": [{"user_id": 7}]}', 422, "requests[0].user_id"),
        (b'{"requests": [{"user_id": "a", "k": "7"}]}', 422, "requests[0].k"),
        (b'{"requests": [{"user_id": "a", "n": 7}]}', 422, "requests[0].n"),
    ],
)
async def test_a_bad_body_is_told_by_its_place(
    client: httpx.AsyncClient, body: bytes, status: int, parameter: str
) -> None:
    answer = await client.post("/recommend:batch", content=body, headers={"content-type": "application/json"})
    found = is_problem(answer, status, "malformed-body" if status == 400 else "invalid-parameter")
    assert found.get("parameter", "") == parameter


async def test_a_whole_number_may_be_written_with_a_point(client: httpx.AsyncClient, store: Remembered) -> None:
    body = b'{"requests": [{"user_id": "new", "k": 3.0}, {"user_id": "new", "k": 2e0}]}'
    answer = await client.post("/recommend:batch", content=body, headers={"content-type": "application/json"})
    assert [len(each["items"]) for each in answer.json()["answers"]] == [3, 2]
    assert (await client.post("/events", json=EVENT | {"timestamp_us": 7.0})).status_code == 200
    assert store.events["e1"] == ("u", Event("i0003", 5.0, 7))


@pytest.mark.parametrize("path", ["/recommend:batch", "/events"])
async def test_a_body_of_another_type_or_too_large_is_refused(client: httpx.AsyncClient, path: str) -> None:
    is_problem(await client.post(path, content=b"{}"), 415, "media-type")
    is_problem(await client.post(path, content=b"{}", headers={"content-type": "text/plain"}), 415, "media-type")

    async def chunks():
        for _ in range(BODY_MOST // 1024 + 1):
            yield b" " * 1024

    json_type = {"content-type": "application/json; charset=utf-8"}
    is_problem(await client.post(path, content=chunks(), headers=json_type), 413, "too-large")


async def test_an_event_is_kept_once(client: httpx.AsyncClient, store: Remembered) -> None:
    first = await client.post("/events", json=EVENT)
    again = await client.post("/events", json=EVENT)
    assert (first.status_code, first.json()) == (200, {"accepted": 1, "duplicates": 0})
    assert (again.status_code, again.json()) == (200, {"accepted": 0, "duplicates": 1})
    assert store.events == {"e1": ("u", Event("i0003", 5.0, 7))}


async def test_several_events_may_come_at_once_and_a_rating_may_be_left_out(
    client: httpx.AsyncClient, store: Remembered
) -> None:
    unrated = {key: value for key, value in EVENT.items() if key != "rating"} | {"event_id": "e2"}
    answer = await client.post("/events", json=[EVENT, unrated, EVENT])
    assert answer.json() == {"accepted": 2, "duplicates": 1}
    assert store.events["e2"] == ("u", Event("i0003", 4.0, 7))
    is_problem(await client.post("/events", json=[]), 422)
    is_problem(await client.post("/events", json=[EVENT] * (BATCH_MOST + 1)), 422)


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"event_id": ""}, "event_id"),
        ({"event_id": "a\nb"}, "event_id"),
        ({"item_id": "a\n"}, "item_id"),
        ({"item_id": None}, "item_id"),
        ({"rating": 0}, "rating"),
        ({"rating": 5.5}, "rating"),
        ({"timestamp_us": -1}, "timestamp_us"),
        ({"timestamp_us": 1.5}, "timestamp_us"),
        ({"timestamp_us": 10**18}, "timestamp_us"),
        ({"stars": 5}, "stars"),
    ],
)
async def test_a_bad_event_is_told_by_its_field(client: httpx.AsyncClient, change: dict, parameter: str) -> None:
    assert is_problem(await client.post("/events", json=EVENT | change), 422)["parameter"] == parameter


@pytest.mark.parametrize("fault", WRITE_FAULTS)
async def test_an_event_that_is_not_kept_is_told_and_may_be_sent_again(
    client: httpx.AsyncClient, store: Remembered, fault: str
) -> None:
    store.fault = fault
    answer = await client.post("/events", json=EVENT)
    if fault == "read_only":
        is_problem(answer, 403, "read-only")
    else:
        is_problem(answer, 503, "feature-store")
        assert int(answer.headers["retry-after"]) >= 1
    store.fault = ""
    assert (await client.post("/events", json=EVENT)).json() == {"accepted": 1, "duplicates": 0}


async def test_an_erasure_needs_the_token(client: httpx.AsyncClient, store: Remembered) -> None:
    await client.post("/events", json=EVENT)
    assert is_problem(await client.delete("/users?user_id=u"), 401)
    assert is_problem(await client.delete("/users?user_id=u", headers={"Authorization": f"Basic {TOKEN}"}), 401)
    wrong = await client.delete("/users?user_id=u", headers={"Authorization": "Bearer guessed"})
    assert is_problem(wrong, 401)
    assert wrong.headers["www-authenticate"] == "Bearer"
    assert store.events
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert (await client.delete("/users?user_id=u", headers=right)).json() == {"erased": 1}
    assert (await client.delete("/users?user_id=u", headers=right)).json() == {"erased": 0}
    assert not store.events
    assert is_problem(await client.delete("/users", headers=right), 422)["parameter"] == "user_id"
    store.fault = "unreachable"
    is_problem(await client.delete("/users?user_id=u", headers=right), 503, "feature-store")


async def test_without_a_token_configured_nobody_may_erase(bundle: Bundle, store: Remembered) -> None:
    client = Service(bundle, store).client
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}"}):
        is_problem(await client.delete("/users?user_id=u", headers=headers), 403, "erasure-off")


async def test_the_model_tells_of_itself(client: httpx.AsyncClient, bundle: Bundle) -> None:
    answer = await client.get("/model")
    model = answer.json()
    assert model["bento"] == f"{model['name']}:{model['version']}" == bundle.manifest.tag
    assert answer.headers["x-model-version"] == model["version"]
    assert (model["items"], model["dimension"], model["last_interaction_us"]) == (40, 8, 1_000_000)
    assert model["index"]["kind"] == "Flat"
    assert model["labels"] == {"data_hash": "none"}
    assert model["registry"] == {"state": "off", "champion": None}
    assert model["features"] == {"state": "unknown", "users": 0}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/recommend", 405), ("GET", "/events", 405), ("PUT", "/users", 405)],
)
async def test_what_is_no_operation_is_a_problem_too(
    client: httpx.AsyncClient, service: Service, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    is_problem(answer, status)
    if status == 405:
        assert answer.headers["allow"]
    assert service.metrics.requests == [("other" if status == 404 else path, status, "")]


async def test_the_time_of_an_event_counts_only_where_it_is_switched_on(
    bundle: Bundle, store: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    for switch, given_time, expected in ((False, "7", None), (True, "7", 7), (True, None, None)):
        service = Service(bundle, store, logical_clock=switch)
        times: list[int | None] = []
        whole = service.ladder.recommend

        async def recommend(user_id: str, k: int, now_us: int | None = None, *, whole=whole, times=times):
            times.append(now_us)
            return await whole(user_id, k, now_us)

        monkeypatch.setattr(service.ladder, "recommend", recommend)
        headers = {"X-Understudy-Event-Time": given_time} if given_time else {}
        await service.client.get("/recommend?user_id=vector", headers=headers)
        assert times == [expected]
    wrong = await service.client.get("/recommend?user_id=a", headers={"X-Understudy-Event-Time": "yesterday"})
    assert is_problem(wrong, 422)["parameter"] == "X-Understudy-Event-Time"


async def test_candidates_are_told_for_the_share_of_users_that_the_log_wants(bundle: Bundle, store: Remembered) -> None:
    ranking = RankingSettings(tail_slot=3, tail_from=20)
    plain = await Service(bundle, store, ranking=ranking).client.get("/recommend?user_id=vector&k=5")
    told = await Service(bundle, store, ranking=ranking, retrieved_share=1.0).client.get(
        "/recommend?user_id=vector&k=5"
    )
    assert "retrieved" not in plain.json()
    retrieved = told.json()["retrieved"]
    assert len(retrieved) == 39  # all but the one seen
    listed = [item["item_id"] for item in told.json()["items"]]
    assert listed == [item["item_id"] for item in plain.json()["items"]]
    assert [listed[0], listed[1], listed[3], listed[4]] == retrieved[:4]
    assert listed[2] in retrieved[4:20]
    half = Service(bundle, store, ranking=ranking, retrieved_share=0.5)
    first, again = [
        ["retrieved" in (await half.client.get(f"/recommend?user_id=u{number}")).json() for number in range(60)]
        for _ in range(2)
    ]
    assert 15 < sum(first) < 45
    assert first == again


async def test_where_nothing_is_ranked_there_are_no_candidates_to_tell(bundle: Bundle, store: Remembered) -> None:
    one = await Service(bundle, store, retrieved_share=1.0).client.get(
        "/recommend?user_id=vector", headers={"X-Request-Id": "same"}
    )
    other = await Service(bundle, store).client.get("/recommend?user_id=vector", headers={"X-Request-Id": "same"})
    assert one.content == other.content


async def test_the_model_tells_how_it_ranks(bundle: Bundle, store: Remembered) -> None:
    ranking = RankingSettings(diversity=0.25)
    answer = await Service(bundle, store, ranking=ranking).client.get("/model")
    assert msgspec.convert(answer.json()["ranking"], RankingSettings) == ranking
