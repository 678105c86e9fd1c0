"""The document says what the code does: the same paths, and examples that the code itself reads."""

from __future__ import annotations

import re

import httpx
import msgspec
import pytest

from bentos import messages
from bentos.api import ROUTES, create_app
from bentos.fallback import SOURCES
from bentos.lifecycle import Lifecycle
from bentos.openapi import DOCUMENT, EXAMPLES, JSON
from bentos.problems import MEDIA_TYPE

OPERATIONS = [(path, method, found) for path, item in DOCUMENT["paths"].items() for method, found in item.items()]
PAGES = {("/", "GET"), ("/docs", "GET"), ("/openapi.json", "GET"), ("/metrics", "GET")}


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = create_app(Lifecycle().api)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bento")


def test_every_route_is_described_and_every_description_is_a_route() -> None:
    app = create_app(Lifecycle().api)
    routes = {(route.path, method) for route in app.routes for method in getattr(route, "methods", None) or ()}  # type: ignore[attr-defined]
    described = {(path, method.upper()) for path, method, _ in OPERATIONS}
    assert described == routes - PAGES
    assert {path for path, _ in described} == ROUTES


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_example_is_what_the_code_reads_and_writes(kind: type) -> None:
    read = msgspec.json.decode(msgspec.json.encode(EXAMPLES[kind]), type=kind)
    assert msgspec.json.decode(msgspec.json.encode(read)) == EXAMPLES[kind]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_operation_tells_its_answers_with_examples(path: str, method: str, operation: dict) -> None:
    expected = {"200", "429", "503"} | ({"422"} if "parameters" in operation or "requestBody" in operation else set())
    assert expected <= set(operation["responses"])
    for status, response in operation["responses"].items():
        content = response["content"][JSON if status == "200" else MEDIA_TYPE]
        assert content["example"]
        assert response["description"]
        if status != "200":
            problem = msgspec.convert(content["example"], messages.Problem)
            assert problem.status == int(status)
        if status in ("429", "503"):
            assert "Retry-After" in response["headers"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"]
        assert parameter["schema"]["examples"]


def test_the_sources_are_the_ladder_s() -> None:
    assert tuple(DOCUMENT["components"]["schemas"]["Answer"]["properties"]["source"]["enum"]) == SOURCES


def test_every_reference_leads_somewhere() -> None:
    for name in re.findall(r'"#/components/schemas/([^"]+)"', msgspec.json.encode(DOCUMENT).decode()):
        assert name in DOCUMENT["components"]["schemas"]


async def test_the_page_needs_nothing_from_the_internet(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).headers["location"] == "docs"
    page = (await client.get("/docs")).text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 3
    for file in files:
        assert (await client.get("/" + file)).status_code == 200
    assert "http://" not in page
    assert "https://" not in page
    assert (await client.get("/openapi.json")).json() == DOCUMENT
