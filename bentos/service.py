"""The BentoML service: loads the bundle that the bento was built with, and nothing else, before it is ready.

It refuses to start when the bundle was altered, or when bento and bundle disagree: the model's exact tag was written
into the bento at build time (`packaged.json`), must be pinned in bento.yaml, and must be what the loaded bundle says
of itself. It is ready only when a few hundred requests have been answered rightly (`bentos.warm_up`). It starts
without Redis: then it answers from the fallback, labelled. Next module: `bentos.packaging`, which builds the bento.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import logging
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import bentoml
from bentoml.exceptions import BentoMLException
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from bentos import settings as room_settings
from bentos.agreement import SOURCE, check_agreement, packaged
from bentos.api import Api, create_app
from bentos.bundle import Bundle, load_bundle, verify_bundle
from bentos.champion import DEADLINE_SECONDS, Champion, registered
from bentos.errors import BentosError, SmokeError
from bentos.event_store import RedisEventStore
from bentos.feature_scripts import EventLimits
from bentos.feature_store import RedisFeatureStore
from bentos.features import FeatureStore
from bentos.front import Front
from bentos.lifecycle import Lifecycle
from bentos.metrics import PrometheusMetrics, forget_dead_workers
from bentos.problems import MEDIA_TYPE
from bentos.recommend import Ladder
from bentos.registry import Registry
from bentos.settings import RegistrySettings, ServingSettings
from bentos.warm_up import warm_up

log = logging.getLogger(__name__)

BENTO_YAML: Final = SOURCE.parent / "bento.yaml"
"""BentoML's own description; not there yet while the bento is being built."""

EVENT_CONNECTIONS: Final = 2
"""To the feature store, for events and erasures; opened with the first of them."""
FRESH_SECONDS: Final = 5.0
"""How often the gauges of the feature store are brought up to date."""


def trusted_bundle() -> Bundle:
    """The bundle this bento was built with, verified; `BundleError` or `PackagingError` when it is not to be served."""
    tag = packaged().tag
    bundle = load_bundle(Path(bentoml.models.get(tag).path))
    check_agreement(tag, BENTO_YAML, bundle.manifest.tag)
    return bundle


def serve_alone() -> None:
    """In the server, before its workers: end at once when bundle or settings will not do; share the metrics.

    BentoML restarts a worker that failed for ever; an import that fails ends the server in one line. Only the checksums
    are compared, for the server would keep the memory of a whole bundle; the worker verifies it again when it loads it.
    """
    try:
        tag = packaged().tag
        check_agreement(tag, BENTO_YAML, verify_bundle(Path(bentoml.models.get(tag).path)).tag)
        if address := ServingSettings.load().registry_url:
            Registry(address, RegistrySettings.load())
    except (BentosError, ValueError) as error:
        raise BentoMLException(str(error)) from error
    directory = tempfile.mkdtemp(prefix="understudy-metrics-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    room_settings.share_metrics(Path(directory))


if BENTO_YAML.exists() and bentoml.server_context.worker_index is None:
    serve_alone()


def checked_settings() -> ServingSettings:
    """The settings; a variable that cannot be read ends the server in one line."""
    try:
        return ServingSettings.load()
    except ValueError as error:
        raise BentoMLException(str(error)) from error


IMAGE: Final = bentoml.images.Image(
    base_image="python:3.11-slim",
    # One that BentoML does not know: for those that it knows it adds compilers.
    distro="custom",
    python_version="3.11",
    lock_python_packages=False,
)
"""What bento.yaml tells of the image; the Dockerfile itself is `bentos/bento.Dockerfile`."""

lifecycle = Lifecycle()
app = create_app(lifecycle.api)


@bentoml.service(
    name="understudy",
    workers=checked_settings().workers,
    # A backstop: nothing here waits longer than its own, shorter deadline.
    traffic={"timeout": 10},
    # BentoML's metrics have the raw path as a label; ours are at /metrics of the mounted application.
    metrics={"enabled": False, "namespace": "bentoml"},
    logging={"access": {"enabled": False}},
    image=IMAGE,
    # BentoML makes a trace of every request though nothing takes it: a third of the time of the fast lane. Who has an
    # exporter sets services.understudy.tracing in BENTOML_CONFIG_OPTIONS, which wins over this.
    tracing={"excluded_urls": ["/recommend$"]},
)
@bentoml.asgi_app(app, path="/")
class Recommender:
    """One model version behind `GET /recommend`."""

    def __init__(self) -> None:
        self._settings = ServingSettings.load()
        self._bundle = trusted_bundle()
        self._open = AsyncExitStack()
        self._reporting: list[asyncio.Task[None]] = []

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def open(self) -> None:
        """Connect, answer the warm-up, and only then be ready."""
        logging.getLogger("bentos").setLevel(logging.INFO)
        settings, bundle = self._settings, self._bundle
        lifecycle.drain_on_signals(settings.drain_seconds)
        store = self._store = RedisFeatureStore(
            settings.redis_url,
            bundle.manifest.version,
            bundle.manifest.users,
            bundle.manifest.dimension,
            settings.feature_deadline_ms / 1000,
            settings.redis_connections,
            batch_deadline_seconds=settings.feature_batch_deadline_ms / 1000,
        )
        events = self._events = RedisEventStore(
            settings.redis_url,
            settings.event_deadline_ms / 1000,
            EVENT_CONNECTIONS,
            EventLimits(retention_seconds=round(settings.event_retention_days * 86_400)),
        )
        try:
            answered = await warm_up(bundle, self._front)
        except SmokeError as error:
            # Ending the worker would have it started again, for ever: it stays, not ready, and says why.
            log.critical("never ready: %s", error)
            lifecycle.refuse(str(error))
            return
        # Connections to Redis, if it is there, or the first users would wait for them.
        connected = await store.connect()
        room_settings.use_shared_metrics()
        if (directory := room_settings.metrics_directory()) is not None:
            forget_dead_workers(directory)
        metrics = PrometheusMetrics(bundle.manifest, {})
        await store.refresh()
        metrics.store(store.state)
        ladder = Ladder(bundle, store, settings.ranking)
        api = Api(
            ladder,
            events,
            await self._champion(),
            metrics=metrics,
            admin_token=settings.admin_token,
            logical_clock=settings.logical_clock,
            retrieved_share=settings.retrieved_share,
            features=lambda: store.state.features,
        )
        # Without this a full collection walks every loaded library: p99 of 100 ms (research note deploy §2.2).
        gc.collect()
        gc.freeze()
        lifecycle.open(api, metrics, settings.most_requests)
        fresh = store.keep_fresh(metrics.store, FRESH_SECONDS)
        self._reporting += (asyncio.create_task(lifecycle.report()), asyncio.create_task(fresh))
        tag, frozen = bundle.manifest.tag, gc.get_freeze_count()
        log.info("%s ready: %d requests of the warm-up, Redis %s, %d objects frozen", tag, answered, connected, frozen)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Give the connections back."""
        for task in self._reporting:
            task.cancel()
        await self._store.close()
        await self._events.close()
        await self._open.aclose()

    async def __is_ready__(self) -> bool:
        """BentoML's hook behind `/readyz`; the exception is its answer."""
        if lifecycle.ready:
            return True
        problem = lifecycle.not_ready()
        headers = {"Content-Type": MEDIA_TYPE} | {name.decode(): value.decode() for name, value in problem.headers}
        raise HTTPException(problem.status, problem.body().decode(), headers)

    async def _champion(self) -> Champion:
        """The registry's, if one is configured."""
        settings = self._settings
        if not settings.registry_url:
            return Champion(None)
        # It has a deadline of its own, so that one question cannot hold up the next.
        short = replace(RegistrySettings.load(), deadline_s=DEADLINE_SECONDS)
        return Champion(registered(await self._open.enter_async_context(Registry(settings.registry_url, short))))

    def _front(self, store: FeatureStore) -> ASGIApp:
        """A front of its own for the warm-up: nothing is counted."""
        private = Lifecycle()
        private.open(Api(Ladder(self._bundle, store, self._settings.ranking), None, Champion(None)), private.metrics, 1)
        return Front(create_app(private.api), private)


Recommender.add_asgi_middleware(Front, lifecycle=lifecycle)  # type: ignore[attr-defined]
