"""The HTTP API of a bento (DESIGN §4): stable paths, and equal answers are equal bytes but for the request id.

The service does not know its role: primary, shadow and control run the same code. Next module: `bentos.openapi`,
which describes it.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bentos import problems, requests
from bentos.champion import Champion
from bentos.errors import StoreWriteError
from bentos.features import Event, EventStore, encoded
from bentos.messages import (
    BATCH_MOST,
    Answer,
    BatchAnswer,
    BatchItem,
    BatchQuery,
    Erased,
    EventMessage,
    EventsAnswer,
    FeaturesInfo,
    IndexInfo,
    Item,
    Model,
    ModelInfo,
)
from bentos.metrics import NoMetrics, ServiceMetrics, exposition
from bentos.openapi import DOCUMENT, add_docs
from bentos.problems import Headers, ProblemError
from bentos.recommend import Ladder, Recommendation
from bentos.requests import RawHeaders

ROUTES: Final = frozenset(DOCUMENT["paths"])
EVENT_TIME: Final = b"x-understudy-event-time"
READ_ONLY: Final = "read_only"
TRACE_RESOLUTION: Final = 1_000_000
"""The share of users whose candidates are told is of so many."""

_encoder = msgspec.json.Encoder()
_batches = msgspec.json.Decoder(BatchQuery)
_events = msgspec.json.Decoder(EventMessage | list[EventMessage])


class Reply(NamedTuple):
    """An answer: status, headers of its own, body, and the source of its list."""

    status: int
    headers: Headers
    body: bytes
    source: str = ""


class Api:
    """Answers requests with one ladder.

    `events`: where events are written, if anywhere; `admin_token`: what an erasure must bring, "": it is off;
    `logical_clock`: whether the header with an event's time counts as now; `retrieved_share`: the share of users whose
    answers also name the candidates before ranking; `features`: what is known of the version's in the store.
    """

    def __init__(
        self,
        ladder: Ladder,
        events: EventStore | None,
        champion: Champion,
        *,
        metrics: ServiceMetrics | None = None,
        admin_token: str = "",
        logical_clock: bool = False,
        retrieved_share: float = 0.0,
        features: Callable[[], FeaturesInfo] = lambda: FeaturesInfo("unknown", 0),
    ) -> None:
        bundle = ladder.bundle
        manifest = bundle.manifest
        self._ladder, self._events, self._champion = ladder, events, champion
        self._metrics: ServiceMetrics = metrics or NoMetrics()
        self._admin_token, self._logical_clock = admin_token, logical_clock
        self._features = features
        self._traced = int(retrieved_share * TRACE_RESOLUTION)
        self._item_ids = bundle.item_ids
        self._titles: list[str] = bundle.catalogue.column("title").to_pylist()
        self._model = msgspec.Raw(_encoder.encode(Model(manifest.name, manifest.version, manifest.tag)))
        self._index = IndexInfo(bundle.index.kind.name, bundle.index_report.recall)
        self._version_header = (b"x-model-version", manifest.version.encode())

    async def recommend(self, query_string: bytes, headers: RawHeaders, identity: str) -> Reply:
        """`GET /recommend`."""
        query = requests.recommend_query(query_string)
        found = await self._ladder.recommend(query.user_id, query.k, self._now(headers))
        self._metrics.answered(found.source, found.fault)
        retrieved = self._retrieved(query.user_id, found)
        body = _encoder.encode(Answer(identity, self._items(found), self._model, found.source, retrieved))
        timing = b"features;dur=%.3f, ranking;dur=%.3f" % (found.features_seconds * 1e3, found.ranking_seconds * 1e3)
        return Reply(200, [self._version_header, (b"server-timing", timing)], body, found.source)

    async def batch(self, request: Request) -> Reply:
        """`POST /recommend:batch`: the same lists as single requests would get."""
        asked = await requests.body(request, _batches)
        now = self._now(request.scope["headers"])
        found = await self._ladder.recommend_many([(each.user_id, each.k) for each in asked.requests], now)
        for each in found:
            self._metrics.answered(each.source, each.fault)
        answers = [BatchItem(self._items(each), each.source) for each in found]
        body = _encoder.encode(BatchAnswer(identity_of(request), answers, self._model))
        return Reply(200, [self._version_header], body)

    async def keep_events(self, request: Request) -> Reply:
        """`POST /events`: all or a 503, after which all may be sent again."""
        found = await requests.body(request, _events)
        events = found if isinstance(found, list) else [found]
        if not 1 <= len(events) <= BATCH_MOST:
            raise problems.invalid("body", f"send 1 to {BATCH_MOST} events, not {len(events)}")
        new = [(each.user_id, each.event_id, Event(each.item_id, each.rating, each.timestamp_us)) for each in events]
        accepted = await self._write(self._writer().add_many(new))
        return Reply(200, [], _encoder.encode(EventsAnswer(accepted, len(events) - accepted)))

    async def erase(self, request: Request) -> Reply:
        """`DELETE /users`: what is kept of a user goes, for who has the token."""
        self._ensure_admin(request)
        query = requests.user_query(request.scope["query_string"])
        return Reply(200, [], _encoder.encode(Erased(await self._write(self._writer().erase(query.user_id)))))

    async def model(self, request: Request) -> Reply:  # noqa: ARG002 - what every operation takes
        """`GET /model`."""
        bundle = self._ladder.bundle
        manifest = bundle.manifest
        latest = bundle.catalogue.column("last_interaction_us").to_numpy()
        described = ModelInfo(
            name=manifest.name,
            version=manifest.version,
            bento=manifest.tag,
            items=manifest.items,
            dimension=manifest.dimension,
            last_interaction_us=int(latest.max(initial=0)),
            index=self._index,
            ranking=self._ladder.ranker.settings,
            labels=dict(sorted(manifest.labels.items())),
            registry=await self._champion.against(manifest.tag),
            features=self._features(),
        )
        return Reply(200, [self._version_header], _encoder.encode(described))

    def _items(self, found: Recommendation) -> list[Item]:
        ids, titles = self._item_ids, self._titles
        return [
            Item(ids[row], titles[row], round(score, 6))
            for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True)
        ]

    def _retrieved(self, user_id: str, found: Recommendation) -> list[str] | msgspec.UnsetType:
        """The list before ranking, for the log; always for the same users, so that equal requests stay equal."""
        if not len(found.retrieved) or zlib.crc32(encoded(user_id)) % TRACE_RESOLUTION >= self._traced:
            return msgspec.UNSET
        return [self._item_ids[row] for row in found.retrieved.tolist()]

    def _now(self, headers: RawHeaders) -> int | None:
        """The logical time of a replayed request; None unless it counts here and is given."""
        if not self._logical_clock:
            return None
        given = requests.header(headers, EVENT_TIME)
        if not given:
            return None
        if not given.isdigit() or len(given) > 18:
            raise problems.invalid("X-Understudy-Event-Time", "the event's time must be µs since 1970, in digits")
        return int(given)

    def _ensure_admin(self, request: Request) -> None:
        if not self._admin_token:
            raise problems.forbidden("erasure-off", "erasure is off here; set UNDERSTUDY_ADMIN_TOKEN on one service")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._admin_token.encode()):
            raise problems.unauthorised("erasure needs Authorization: Bearer with the service's admin token")

    def _writer(self) -> EventStore:
        if self._events is None:
            raise problems.forbidden("read-only", "this process keeps no events")
        return self._events

    async def _write(self, write: Any) -> Any:
        try:
            return await write
        except StoreWriteError as error:
            if error.fault == READ_ONLY:
                raise problems.forbidden("read-only", str(error)) from error
            raise problems.unavailable("feature-store", str(error)) from error


def create_app(api: Callable[[], Api]) -> FastAPI:
    """The application; `api` is called once a request needs it: it exists after start-up."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, telemetry={"tracing": False, "metrics": False})
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _framework_problem)

    async def recommend(request: Request) -> Reply:
        return await api().recommend(request.scope["query_string"], request.scope["headers"], identity_of(request))

    operations: dict[tuple[str, str], Callable[[Request], Any]] = {
        ("GET", "/recommend"): recommend,
        ("POST", "/recommend:batch"): lambda request: api().batch(request),
        ("POST", "/events"): lambda request: api().keep_events(request),
        ("DELETE", "/users"): lambda request: api().erase(request),
        ("GET", "/model"): lambda request: api().model(request),
    }
    for (method, path), operation in operations.items():
        app.add_api_route(path, _endpoint(operation), methods=[method])

    @app.get("/metrics")
    def metrics() -> Response:
        content, media_type = exposition()
        return Response(content, media_type=media_type)

    add_docs(app)
    return app


def identity_of(request: Request) -> str:
    """The id of a request: what `bentos.front` made of it, or what the headers say."""
    return str(request.scope.get(requests.IDENTITY) or requests.request_id(request.scope["headers"]))


def _endpoint(operation: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        reply: Reply = await operation(request)
        response = Response(reply.body, reply.status, media_type="application/json")
        response.raw_headers.extend(reply.headers)
        return response

    return endpoint


async def _problem(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastAPI's signature
    assert isinstance(error, ProblemError)
    response = Response(error.body(), error.status, media_type=problems.MEDIA_TYPE)
    response.raw_headers.extend(error.headers)
    return response


async def _framework_problem(request: Request, error: Exception) -> Response:
    """What Starlette refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    headers = [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
    return await _problem(request, problems.plain(error.status_code, str(error.detail), headers))
