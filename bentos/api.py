"""The HTTP API of a bento (DESIGN §4): stable paths, and equal answers are equal bytes but for the request id.

The service does not know its role: primary, shadow and control run the same code. Next module: `bentos.service`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from bentos.metrics import NoMetrics, ServiceMetrics
from bentos.recommend import Ladder, Recommendation

K_DEFAULT: Final = 10
K_MOST: Final = 100
USER_ID_LONGEST: Final = 256
PROBLEM: Final = "application/problem+json"


class Item(msgspec.Struct):
    """One recommended item."""

    item_id: str
    title: str
    score: float


class Model(msgspec.Struct):
    """Which model answered."""

    name: str
    version: str
    bento: str


class Answer(msgspec.Struct):
    """The body of an answer; the order of the fields is the order of the bytes."""

    request_id: str
    items: list[Item]
    model: Model
    source: str


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457 problem details; `parameter` names what is wrong."""

    title: str
    status: int
    detail: str
    parameter: str = ""
    type: str = "about:blank"


class ParameterError(Exception):
    """A query parameter that cannot be used."""

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(detail)
        self.parameter = parameter
        self.detail = detail


_encoder = msgspec.json.Encoder()


def create_app(ladder: Callable[[], Ladder], bento: str, metrics: Callable[[], ServiceMetrics] = NoMetrics) -> FastAPI:
    """The application. `ladder` and `metrics` are called once a request needs them: they exist after start-up."""
    app = FastAPI(
        title="Understudy recommender", description="Recommendations, and which rung of the ladder gave them."
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ParameterError, _unusable)

    @app.get("/recommend", summary="The best unseen items for a user")
    async def recommend(
        request: Request,
        user_id: Annotated[str, Query(min_length=1, max_length=USER_ID_LONGEST, description="Any user, known or not.")],
        k: Annotated[int, Query(ge=1, le=K_MOST, description="How many items.")] = K_DEFAULT,
    ) -> Response:
        for name in ("user_id", "k"):
            if len(request.query_params.getlist(name)) > 1:
                raise ParameterError(name, f"{name} must be given once")
        # What is no UTF-8 arrives with replacement characters, and two users would become one.
        if "\ufffd" in user_id:
            raise ParameterError("user_id", "user_id is not UTF-8")
        # int() also takes 1_0, +5 and the digits of other scripts.
        if not (given := request.query_params.get("k", "1")).isascii() or not given.isdecimal():
            raise ParameterError("k", f"k must be a whole number from 1 to {K_MOST}, in digits")
        found = await ladder().recommend(user_id, k)
        metrics().answered(found.source, found.fault)
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        return _respond(ladder(), found, request_id, bento)

    @app.get("/model", summary="Which model answers here")
    async def model() -> Response:
        manifest = ladder().bundle.manifest
        described = Model(manifest.name, manifest.version, bento)
        return Response(_encoder.encode(described), media_type="application/json")

    return app


def _respond(ladder: Ladder, found: Recommendation, request_id: str, bento: str) -> Response:
    bundle = ladder.bundle
    titles = bundle.catalogue.column("title")
    items = [
        Item(bundle.item_ids[row], titles[row].as_py(), round(float(score), 6))
        for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True)
    ]
    manifest = bundle.manifest
    body = _encoder.encode(Answer(request_id, items, Model(manifest.name, manifest.version, bento), found.source))
    timing = f"features;dur={found.features_seconds * 1e3:.3f}, ranking;dur={found.ranking_seconds * 1e3:.3f}"
    headers = {"X-Request-Id": request_id, "X-Model-Version": manifest.version, "Server-Timing": timing}
    return Response(body, media_type="application/json", headers=headers)


def _problem(parameter: str, detail: str) -> Response:
    problem = Problem(title="Invalid parameter", status=422, detail=detail, parameter=parameter)
    return Response(_encoder.encode(problem), status_code=422, media_type=PROBLEM)


async def _invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's signature
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    parameter = str(first["loc"][-1])
    return _problem(parameter, f"{parameter}: {first['msg']}")


async def _unusable(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's signature
    assert isinstance(error, ParameterError)
    return _problem(error.parameter, error.detail)
