"""The BentoML service: loads the bundle that the bento was built with, and nothing else, before it is ready.

It refuses to start when the bundle was altered, or when bento and bundle disagree: the model's exact tag was written
into the bento at build time (`packaged.json`), must be pinned in bento.yaml, and must be what the loaded bundle says
of itself. It starts without Redis: then it answers from the fallback, labelled. Next module: `bentos.packaging`,
which builds the bento.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Final

import bentoml
import numpy as np
from bentoml.exceptions import BentoMLException

from bentos.agreement import SOURCE, check_agreement, packaged
from bentos.api import create_app
from bentos.bundle import Bundle, load_bundle
from bentos.errors import BentosError, PackagingError
from bentos.features import RedisFeatureStore
from bentos.metrics import PrometheusMetrics, ServiceMetrics
from bentos.recommend import Ladder
from bentos.retrieval import search
from bentos.settings import ServingSettings

WARM_UP: Final = 50

BENTO_YAML: Final = SOURCE.parent / "bento.yaml"
"""BentoML's own description; not there yet while the bento is being built."""

_state: dict[str, Any] = {}


def trusted_bundle() -> Bundle:
    """The bundle this bento was built with, verified; `BundleError` or `PackagingError` when it is not to be served."""
    tag = packaged().tag
    bundle = load_bundle(Path(bentoml.models.get(tag).path))
    check_agreement(tag, BENTO_YAML, bundle.manifest.tag)
    return bundle


if BENTO_YAML.exists() and bentoml.server_context.worker_index is None:
    # BentoML restarts a worker that failed for ever; an import that fails ends the server at once, in one line.
    # The worker verifies it when it loads it.
    try:
        trusted_bundle()
    except BentosError as error:
        raise BentoMLException(str(error)) from error


def _tag_or_none() -> str:
    try:
        return packaged().tag
    except PackagingError:
        return ""


app = create_app(lambda: _state["ladder"], _tag_or_none(), lambda: _state["metrics"])


@bentoml.service(name="understudy", workers=1, traffic={"timeout": 10}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(app, path="/")
class Recommender:
    """One model version behind `GET /recommend`."""

    def __init__(self) -> None:
        bundle = trusted_bundle()
        settings = ServingSettings.load()
        manifest = bundle.manifest
        deadline = settings.feature_deadline_ms / 1000
        store = RedisFeatureStore(
            settings.redis_url, manifest.version, manifest.dimension, deadline, settings.redis_connections
        )
        _state["store"], _state["ladder"] = store, Ladder(bundle, store)
        metrics: ServiceMetrics = PrometheusMetrics()
        _state["metrics"] = metrics
        rng = np.random.default_rng(0)
        for _ in range(WARM_UP):
            search(bundle.index, rng.standard_normal(manifest.dimension, dtype=np.float32), 10, ())

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def warm_up(self) -> None:
        """Before it is ready: connections to Redis, if it is there, or the first users would wait for them."""
        await _state["store"].connect()
        # Without this a full collection walks every loaded library: p99 of 100 ms (research note deploy §2.2).
        gc.collect()
        gc.freeze()
