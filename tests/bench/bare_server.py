"""The bento's handler without BentoML: `python -m tests.bench.bare_server fastapi|front BUNDLE PORT REDIS_URL`.

`front`: what the bento runs, on uvicorn alone, so that the difference is what BentoML costs. `fastapi`: the same
limits, ids and metrics, but FastAPI answers `GET /recommend`, as one would write it. Settings are the service's.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from bentos.api import Api, create_app
from bentos.bundle import load_bundle
from bentos.champion import Champion
from bentos.feature_store import RedisFeatureStore
from bentos.front import Front
from bentos.lifecycle import Lifecycle
from bentos.metrics import PrometheusMetrics
from bentos.recommend import Ladder
from bentos.settings import ServingSettings

FRESH_SECONDS = 5.0
"""How often the service tells the gauges of the feature store."""


def main(kind: str, directory: str, port: str, redis_url: str) -> None:
    """Serve until stopped."""
    # Metrics are kept as BentoML has them kept, for several workers; beside the bundle, in the bench's own directory,
    # for uvicorn hands the signal that ends it on, and nothing after it is run.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=Path(directory).parent)
    bundle, lifecycle, settings = load_bundle(Path(directory)), Lifecycle(), ServingSettings.load()
    app = create_app(lifecycle.api)

    @asynccontextmanager
    async def opened(_: FastAPI) -> AsyncIterator[None]:
        manifest = bundle.manifest
        deadline = settings.feature_deadline_ms / 1000
        store = RedisFeatureStore(
            redis_url,
            manifest.version,
            manifest.users,
            manifest.dimension,
            deadline,
            settings.redis_connections,
            batch_deadline_seconds=settings.feature_batch_deadline_ms / 1000,
        )
        await store.connect()
        metrics = PrometheusMetrics(manifest, {})
        api = Api(Ladder(bundle, store, settings.ranking), None, Champion(None), metrics=metrics)
        gc.collect()
        gc.freeze()
        lifecycle.open(api, metrics, settings.most_requests)
        reporting = [lifecycle.report(), store.keep_fresh(metrics.store, FRESH_SECONDS)]
        tasks = [asyncio.create_task(each) for each in reporting]
        yield
        for task in tasks:
            task.cancel()
        await store.close()

    app.router.lifespan_context = opened
    served = Front(app, lifecycle, fast_lane=kind == "front")
    uvicorn.run(served, host="127.0.0.1", port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
