"""What Prometheus scrapes, from a process of its own: a registry takes each metric once."""

from __future__ import annotations

import subprocess
import sys
import time

from prometheus_client.parser import text_string_to_metric_families

from bentos.bundle import Bundle
from bentos.feature_loading import connected, load_vectors
from tests.bentos.test_feature_store import quiet

PROGRAM = """
import asyncio, sys
from pathlib import Path
from bentos.bundle import read_manifest
from bentos.feature_store import RedisFeatureStore
from bentos.metrics import PrometheusMetrics, exposition
manifest = read_manifest(Path(sys.argv[1]))
metrics = PrometheusMetrics(manifest, {})
async def main():
    served = (manifest.version, manifest.users, manifest.dimension)
    store = RedisFeatureStore(sys.argv[2], *served, 5.0, 2, batch_deadline_seconds=5.0)
    await store.connect(5.0)
    await store.refresh()
    metrics.store(store.state)
    await store.close()
asyncio.run(main())
print(exposition()[0].decode())
"""


def scraped(bundle: Bundle, url: str) -> dict[str, float]:
    """Samples by name."""
    command = [sys.executable, "-c", PROGRAM, str(bundle.directory), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def test_the_store_tells_its_connections_and_how_fresh_the_served_version_is(redis_url: str, bundle: Bundle) -> None:
    empty = scraped(bundle, redis_url)
    assert (empty["understudy_features_users"], empty["understudy_features_age_seconds"]) == (0, 0)
    with connected(redis_url) as client:
        before = time.time()
        load_vectors(client, bundle, quiet)
    found = scraped(bundle, redis_url)
    assert found["understudy_features_users"] == 50
    assert 0 < found["understudy_features_age_seconds"] <= time.time() - before
    assert found["understudy_feature_connections"] == 2
    assert found["understudy_feature_connections_busy"] == found["understudy_feature_reads_waiting"] == 0
