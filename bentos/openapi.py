"""The OpenAPI document, made from the types that are read and written, and the page that shows it.

Swagger UI comes from BentoML's own files, so the page works without the internet. Next module: `bentos.metrics`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from bentos import messages
from bentos.problems import MEDIA_TYPE, URN
from bentos.ranking_settings import RankingSettings

JSON: Final = "application/json"
MODEL: Final = {"name": "champion", "version": "6de57512078d", "bento": "champion:6de57512078d"}
ITEMS: Final = [
    {"item_id": "1210", "title": "Star Wars: Episode VI - Return of the Jedi (1983)", "score": 1.184213},
    {"item_id": "1198", "title": "Raiders of the Lost Ark (1981)", "score": 1.120946},
]
REQUEST_ID: Final = "4b1f0c52f6c54a6c8f0d8a8e2c3b5d7e"
EXAMPLES: Final[dict[type, Any]] = {
    messages.Answer: {"request_id": REQUEST_ID, "items": ITEMS, "model": MODEL, "source": "hybrid"},
    messages.BatchQuery: {"requests": [{"user_id": "42", "k": 2}, {"user_id": "somebody new", "k": 1}]},
    messages.BatchAnswer: {
        "request_id": REQUEST_ID,
        "answers": [{"items": ITEMS, "source": "hybrid"}, {"items": ITEMS[:1], "source": "popular"}],
        "model": MODEL,
    },
    messages.EventMessage: {
        "event_id": "2000-12-02/42/1210",
        "user_id": "42",
        "item_id": "1210",
        "rating": 4.5,
        "timestamp_us": 975_768_738_000_000,
    },
    messages.EventsAnswer: {"accepted": 1, "duplicates": 0},
    messages.Erased: {"erased": 3},
    messages.ModelInfo: MODEL
    | {
        "items": 3_706,
        "dimension": 64,
        "last_interaction_us": 975_768_738_000_000,
        "index": {"kind": "Flat", "recall_at_10": 1.0},
        "ranking": msgspec.to_builtins(RankingSettings()),
        "labels": {"data_hash": "dc36c66dfe38", "model_version": "1"},
        "registry": {"state": "current", "champion": "champion:6de57512078d"},
        "features": {"state": "loaded", "users": 6_040},
    },
}
FULL: Final = ("Service unavailable", "the feature store did not take the write: no connection", "feature-store")
PROBLEMS: Final[dict[int, tuple[str, str, str]]] = {
    400: ("Malformed body", "the body is no JSON in UTF-8: Input data was truncated", "malformed-body"),
    401: ("Unauthorized", "erasure needs Authorization: Bearer with the service's admin token", "token"),
    403: ("Forbidden", "the feature store did not take the write: this process may only read", "read-only"),
    413: ("Body too large", "the body has more than 1048576 bytes", "too-large"),
    415: ("Unsupported media type", "send application/json, not text/plain", "media-type"),
    422: ("Invalid parameter", "Expected `int` <= 100", "invalid-parameter"),
    429: ("Too many requests", "128 requests are being answered, which is the most of this process", "overloaded"),
    503: ("Service unavailable", "draining: the process ends", "not-ready"),
}
"""Status → title, detail and kind of an example."""
MEANINGS: Final = {
    400: "The body is no JSON in UTF-8.",
    401: "The token is missing or another.",
    403: "This process does not do that.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "A parameter or a field cannot be used; `parameter` names it.",
    429: "As many requests are being answered as may be; try again after `Retry-After` seconds.",
    503: "Not ready, or the feature store did not take the write; try again after `Retry-After` seconds.",
}
ALWAYS: Final = (422, 429, 503)
WITH_BODY: Final = (400, 413, 415)
PLACES: Final = {"recommend": "k", "recommend_batch": "requests[3].k", "keep_events": "rating", "erase_user": "user_id"}
"""What is wrong in the example of a 422."""
TAGS: Final = {
    "recommend": "Lists",
    "recommend_batch": "Lists",
    "keep_events": "What users did",
    "erase_user": "What users did",
    "model": "The model",
}
_TYPES: Final = (*EXAMPLES, messages.RecommendQuery, messages.Problem)


def _components() -> dict[str, Any]:
    _, found = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    # An already encoded model is still a model.
    for name in ("Answer", "BatchAnswer"):
        found[name]["properties"]["model"] = {"$ref": "#/components/schemas/Model"}
    return found


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _header(about: str, kind: str = "string") -> dict[str, Any]:
    return {"description": about, "schema": {"type": kind}}


def _answer(kind: type, about: str, *names: str) -> dict[str, Any]:
    known = {
        "X-Model-Version": _header("The version that answered."),
        "Server-Timing": _header("Milliseconds for features and ranking."),
    }
    headers = {"X-Request-Id": _header("The request's id.")} | {name: known[name] for name in names}
    content = {JSON: {"schema": _ref(kind), "example": EXAMPLES[kind]}}
    return {"description": about, "headers": headers, "content": content}


def _problem(status: int, writes: bool, place: str) -> dict[str, Any]:
    title, detail, kind = FULL if status == 503 and writes else PROBLEMS[status]
    example = {"title": title, "status": status, "detail": detail, "type": URN + kind}
    if status == 422:
        example |= {"detail": f"{place}: {detail}", "parameter": place}
    found: dict[str, Any] = {
        "description": MEANINGS[status],
        "content": {MEDIA_TYPE: {"schema": _ref(messages.Problem), "example": example}},
    }
    if status in (429, 503):
        found["headers"] = {"Retry-After": _header("Seconds to wait.", "integer")}
    return found


def _parameters(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    found = []
    for field in msgspec.structs.fields(kind):
        schema = msgspec.json.schema(field.type)
        if not field.required:
            schema["default"] = field.default
        about = {"description": schema.pop("description", ""), "required": field.required}
        found.append({"name": field.name, "in": "query", **about, "schema": schema, "example": schema["examples"][0]})
    return found


def _operation(
    name: str, summary: str, answer: dict[str, Any], *statuses: int, takes: type | None = None, **more: Any
) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": name, "tags": [TAGS[name]], "summary": summary} | more
    if takes is not None:
        schema = _ref(takes)
        if takes is messages.EventMessage:
            many = {"type": "array", "items": schema, "minItems": 1, "maxItems": messages.BATCH_MOST}
            schema = {"oneOf": [schema, many]}  # type: ignore[dict-item]
        content = {JSON: {"schema": schema, "example": EXAMPLES[takes]}}
        described["requestBody"] = {"required": True, "content": content}
        statuses = (*WITH_BODY, *statuses)
    every = sorted((*statuses, *ALWAYS))
    responses = {str(status): _problem(status, 403 in statuses, PLACES.get(name, "")) for status in every}
    return described | {"responses": {"200": answer} | responses}


def _paths() -> dict[str, Any]:
    recommend = _operation(
        "recommend",
        "The best unseen items for a user",
        _answer(messages.Answer, "Never empty while an item is unseen.", "X-Model-Version", "Server-Timing"),
        parameters=_parameters(messages.RecommendQuery),
    )
    batch = _operation(
        "recommend_batch",
        "The same for many users at once",
        _answer(messages.BatchAnswer, "The lists that single requests would get.", "X-Model-Version"),
        takes=messages.BatchQuery,
    )
    events = _operation(
        "keep_events",
        "Tell what a user did; one event or an array, idempotent by event id",
        _answer(messages.EventsAnswer, "All are kept."),
        403,
        takes=messages.EventMessage,
    )
    erase = _operation(
        "erase_user",
        "Remove all that is kept of a user",
        _answer(messages.Erased, "All of it is gone."),
        401,
        403,
        parameters=_parameters(messages.UserQuery),
        security=[{"admin": []}],
    )
    described = _answer(messages.ModelInfo, "The model.", "X-Model-Version")
    model = _operation("model", "Which model answers here", described)
    del model["responses"]["422"]
    return {
        "/recommend": {"get": recommend},
        "/recommend:batch": {"post": batch},
        "/events": {"post": events},
        "/users": {"delete": erase},
        "/model": {"get": model},
    }


DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Understudy recommender",
        "version": "1",
        "description": "Recommendations, and which rung of the ladder gave them. Errors are RFC 9457 problems. "
        "Who may call is decided in front of the service: only an erasure asks for a token.",
    },
    "paths": _paths(),
    "components": {
        "schemas": _components(),
        "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
    },
}


def add_docs(app: FastAPI) -> None:
    """`/openapi.json` and, with BentoML's copy of Swagger UI, `/docs`."""
    encoded = msgspec.json.encode(DOCUMENT)

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return Response(encoded, media_type=JSON)

    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Understudy recommender",
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="docs/assets/favicon-light-32x32.png",
    )

    @app.get("/docs")
    async def docs(request: Request) -> HTMLResponse:  # noqa: ARG001 - FastAPI's signature
        return page

    # BentoML's own page at / lists nothing of a mounted application, and loads a tag manager from the internet.
    @app.get("/")
    async def index(request: Request) -> RedirectResponse:  # noqa: ARG001 - FastAPI's signature
        return RedirectResponse("docs")

    app.mount("/docs/assets", StaticFiles(directory=_swagger_ui()))


def _swagger_ui() -> Path:
    found = find_spec("bentoml")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "_internal" / "server" / "static_content"
