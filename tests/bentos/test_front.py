"""What every request passes: the bound on requests at once, the last resort, and errors of other forms."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from bentos.bundle import load_bundle
from bentos.features import Features, Missing
from bentos.front import PROBES, Front
from bentos.lifecycle import Lifecycle
from tests.bentos.bundles import synthetic_bundle
from tests.bentos.fronts import Counted, Remembered, Service


class Waiting(Remembered):
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def read(self, user_id: str) -> Features | Missing:
        await self.open.wait()
        return await super().read(user_id)


class Broken(Remembered):
    async def read(self, user_id: str) -> Features | Missing:
        raise RuntimeError(f"secret of {user_id}")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    synthetic_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def behind(app: object) -> tuple[httpx.AsyncClient, Counted, Lifecycle]:
    """A client of `app` behind a front that is open."""
    lifecycle, counted = Lifecycle(), Counted()
    lifecycle.metrics, lifecycle.most_requests = counted, 4
    front = Front(app, lifecycle)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://bento"), counted, lifecycle


async def test_a_request_too_many_is_refused_at_once_and_told_when_to_come_back(directory: Path) -> None:
    store = Waiting()
    service = Service(load_bundle(directory), store, most=2)
    waiting = [asyncio.create_task(service.client.get(f"/recommend?user_id={n}")) for n in range(2)]
    while service.lifecycle.in_flight < 2:
        await asyncio.sleep(0)
    refused = await service.client.get("/recommend?user_id=third")
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1
    assert (await service.client.post("/recommend:batch", json={})).status_code == 429
    # Probes and metrics are never refused: an overloaded process is not a dead one.
    assert (await service.client.get("/metrics")).status_code == 200
    store.open.set()
    assert [(await each).status_code for each in waiting] == [200, 200]
    assert (await service.client.get("/recommend?user_id=third")).status_code == 200
    assert service.lifecycle.in_flight == 0
    assert [status for _, status, _ in service.metrics.requests] == [429, 429, 200, 200, 200]


@pytest.mark.parametrize("path", ["/recommend?user_id=u", "/recommend:batch"])
async def test_a_failure_is_a_500_that_names_the_request_and_nothing_else(
    directory: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(load_bundle(directory), Broken())
    body = {"json": {"requests": [{"user_id": "u"}]}} if ":" in path else {}
    with caplog.at_level(logging.ERROR):
        answer = await service.client.request("POST" if body else "GET", path, headers={"X-Request-Id": "r7"}, **body)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "r7" in answer.json()["detail"]
    assert "secret" not in answer.text
    assert "r7" in caplog.text
    assert "secret of u" in caplog.text
    assert service.lifecycle.in_flight == 0
    assert service.metrics.requests[-1][1] == 500


async def test_before_it_is_open_and_after_a_failed_warm_up_it_says_so(directory: Path) -> None:
    service = Service(load_bundle(directory), Remembered())
    service.lifecycle.refuse("the index finds 3% of the best items")
    for path in ("/recommend?user_id=u", "/model"):
        answer = await service.client.get(path)
        assert answer.status_code == 503
        assert "3%" in answer.json()["detail"]
        assert answer.headers["retry-after"]
    assert not service.lifecycle.ready
    assert Lifecycle().not_ready().problem.detail == "starting"


async def test_while_draining_requests_are_answered_and_connections_let_go(directory: Path) -> None:
    service = Service(load_bundle(directory), Remembered())
    assert "connection" not in (await service.client.get("/recommend?user_id=u")).headers
    service.lifecycle.draining = True
    assert not service.lifecycle.ready
    for path in ("/recommend?user_id=u", "/model", "/nothing"):
        assert (await service.client.get(path)).headers["connection"] == "close"


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (JSONResponse({"error": "Too late"}, 504, {"X-Kept": "yes"}), '{"error":"Too late"}'),
        (PlainTextResponse("Not Found", 404, {"X-Kept": "yes"}), "Not Found"),
        (PlainTextResponse("", 405, {"X-Kept": "yes"}), "Method Not Allowed"),
        (PlainTextResponse(b"\xff" * 9_000, 400, {"X-Kept": "yes"}), "�" * 2_000),
    ],
)
async def test_an_error_in_another_form_leaves_as_a_problem(response: Response, detail: str) -> None:
    client, counted, _ = behind(response)
    answer = await client.get("/elsewhere")
    assert answer.status_code == response.status_code
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == detail
    assert answer.headers["x-kept"] == "yes"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert counted.requests == [("other", response.status_code, "")]


@pytest.mark.parametrize("path", sorted(PROBES))
async def test_a_probe_asked_by_another_method_is_an_error_like_any_other(path: str) -> None:
    client, counted, _ = behind(PlainTextResponse("Method Not Allowed", 405))
    answer = await client.post(path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    assert counted.requests == [("other", 405, "")]
    assert (await client.get(path)).headers["content-type"].startswith("text/plain")
    assert len(counted.requests) == 1


async def test_an_answer_in_parts_is_passed_on_in_parts_and_one_that_breaks_is_no_second_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        if scope["path"] == "/breaks":
            raise RuntimeError("half way")
        await send({"type": "http.response.body", "body": b"two"})

    client, _, lifecycle = behind(app)
    assert (await client.get("/")).text == "onetwo"
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/breaks", "query_string": b"", "headers": []}
    await Front(app, lifecycle)(scope, None, send)  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_what_is_no_http_request_passes() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await Front(app, Lifecycle())({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


@pytest.mark.parametrize("path", ["/docs.json", "/schema.json"])
async def test_what_describes_another_api_is_not_there_and_never_reaches_the_application(path: str) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError(scope["path"])

    transport = httpx.ASGITransport(Front(application, Lifecycle()))
    async with httpx.AsyncClient(transport=transport, base_url="http://bento") as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_the_fast_lane_the_application_answers_and_limits_metrics_and_ids_are_the_same() -> None:
    lifecycle, counted = Lifecycle(), Counted()
    lifecycle.metrics = counted
    transport = httpx.ASGITransport(Front(JSONResponse({"by": "application"}), lifecycle, fast_lane=False))
    async with httpx.AsyncClient(transport=transport, base_url="http://bento") as client:
        answer = await client.get("/recommend?user_id=1", headers={"X-Request-Id": "r1"})
        lifecycle.most_requests = 0
        refused = await client.get("/recommend?user_id=1")
    assert (answer.json(), answer.headers["x-request-id"]) == ({"by": "application"}, "r1")
    assert refused.status_code == 429
    assert counted.requests == [("/recommend", 200, ""), ("/recommend", 429, "")]
