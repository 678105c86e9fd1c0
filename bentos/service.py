"""The BentoML service: loads the bundle that the bento was built with, and nothing else, before it is ready.

It refuses to start when bento and bundle disagree: the model's exact tag was written into the bento at build time
(`packaged.json`), must be pinned in bento.yaml, and must be what the loaded bundle says of itself. It starts without
Redis: then it answers from the fallback, labelled. Next module: `bentos.packaging`, which builds the bento.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Final

import bentoml
import msgspec
import numpy as np
import yaml

from bentos.api import create_app
from bentos.bundle import load_bundle
from bentos.errors import PackagingError
from bentos.features import RedisFeatureStore
from bentos.metrics import PrometheusMetrics, ServiceMetrics
from bentos.recommend import Ladder
from bentos.retrieval import search
from bentos.settings import ServingSettings

WARM_UP: Final = 50
SOURCE: Final = Path(__file__).parent.parent
"""The `src` directory of the bento (the checkout when this is not running in one)."""


class Packaged(msgspec.Struct, frozen=True):
    """What the builder wrote into the bento: the tag of its model, which is the bento's own tag too."""

    tag: str


_state: dict[str, Any] = {}


def packaged(source: Path = SOURCE) -> Packaged:
    """The build's note in `source`; `PackagingError` when this code does not run inside a bento."""
    try:
        return msgspec.json.decode((source / "packaged.json").read_bytes(), type=Packaged)
    except (OSError, msgspec.DecodeError) as error:
        raise PackagingError(
            f"{source}: no bento (packaged.json: {error}). Build one: understudy bento build"
        ) from error


def check_agreement(tag: str, bento_yaml: Path, bundle_tag: str) -> None:
    """`PackagingError` unless the model `tag` is the only one pinned in `bento_yaml`, its bento's, and the bundle's."""
    document = yaml.safe_load(bento_yaml.read_text())
    pinned = [str(model["tag"]) for model in document.get("models", [])]
    bento = f"{document.get('name')}:{document.get('version')}"
    if pinned != [tag] or bento != tag or bundle_tag != tag:
        raise PackagingError(
            f"bento and bundle disagree: built for {tag}, bento.yaml is {bento} with models {pinned}, the bundle says "
            f"{bundle_tag}. Build the bento again: understudy bento build"
        )


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
        tag = packaged().tag
        model = bentoml.models.get(tag)
        bundle = load_bundle(Path(model.path))
        check_agreement(tag, SOURCE.parent / "bento.yaml", bundle.manifest.tag)
        settings = ServingSettings.load()
        manifest = bundle.manifest
        deadline = settings.feature_deadline_ms / 1000
        store = RedisFeatureStore(
            settings.redis_url, manifest.version, manifest.dimension, deadline, settings.redis_connections
        )
        _state["ladder"] = Ladder(bundle, store)
        metrics: ServiceMetrics = PrometheusMetrics()
        _state["metrics"] = metrics
        rng = np.random.default_rng(0)
        for _ in range(WARM_UP):
            search(bundle.index, rng.standard_normal(manifest.dimension, dtype=np.float32), 10, ())
        # Without this a full collection walks every loaded library: p99 of 100 ms (research note deploy §2.2).
        gc.collect()
        gc.freeze()
