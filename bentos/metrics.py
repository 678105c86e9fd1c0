"""The service's own metrics: by route template and source, never by raw path (BentoML's grow with every user).

Several workers share a directory of memory-mapped values, made anew by each server, so /metrics of any worker tells of
all of them. prometheus_client is imported only in the served process, after that directory is named. Next module:
`bentos.front`, which reports every answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

from bentos.bundle import BundleManifest
from bentos.feature_store import StoreState

BUCKETS: Final = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Seconds; the goals (p95 10 ms, p99 30 ms) are edges."""
STORE_GAUGES: Final = {
    "feature_connections": ("Open connections to the feature store.", "livesum"),
    "feature_connections_busy": ("Connections to the feature store with reads under way.", "livesum"),
    "feature_reads_waiting": ("Reads that wait for a connection to the feature store.", "livesum"),
    "features_users": ("Users whose vectors are loaded of the served version; 0: it is not loaded.", "livemax"),
    "features_age_seconds": ("Since the served version was loaded; 0 when it is not loaded.", "livemax"),
}
"""Every few seconds. Name → help, and how the values of several workers are taken together."""
OTHER_ROUTE: Final = "other"
"""Paths that are no route."""


class ServiceMetrics(Protocol):
    """Where the service reports what it did."""

    def answered(self, source: str, fault: str) -> None:
        """Count one list by its rung, and the store's fault if it had one."""

    def finished(self, route: str, status: int, source: str, seconds: float) -> None:
        """Count one request by its route template, and its time until the answer was handed over."""

    def in_flight(self, requests: int) -> None:
        """How many requests this process is answering."""

    def store(self, state: StoreState) -> None:
        """The feature store's connections, and what is loaded of the served version."""


class NoMetrics:
    """Counts nothing."""

    def answered(self, source: str, fault: str) -> None:
        """See `ServiceMetrics`."""

    def finished(self, route: str, status: int, source: str, seconds: float) -> None:
        """See `ServiceMetrics`."""

    def in_flight(self, requests: int) -> None:
        """See `ServiceMetrics`."""

    def store(self, state: StoreState) -> None:
        """See `ServiceMetrics`."""


class PrometheusMetrics:
    """Counters in the process's Prometheus registry; at most one of these in a process."""

    def __init__(self, manifest: BundleManifest, labels: Mapping[str, str]) -> None:
        """`labels` are further labels of the model's series of constant 1."""
        from prometheus_client import Counter, Gauge, Histogram

        names = ["route", "status", "source"]
        self._requests = Counter("understudy_requests_total", "Requests by route template.", names)
        self._seconds = Histogram(
            "understudy_request_duration_seconds", "From the head of a request to its answer.", names, buckets=BUCKETS
        )
        self._answers = Counter("understudy_answers_total", "Lists by the rung that gave them.", ["source"])
        self._faults = Counter("understudy_feature_faults_total", "Reads the feature store failed, by kind.", ["fault"])
        self._in_flight = Gauge(
            "understudy_requests_in_flight", "Requests being answered, once a second.", multiprocess_mode="livesum"
        )
        self._store = {
            # prometheus_client's type of the mode is a literal, which a table cannot keep.
            name: Gauge(f"understudy_{name}", text, multiprocess_mode=cast(Any, mode))
            for name, (text, mode) in STORE_GAUGES.items()
        }
        told = {"name": manifest.name, "version": manifest.version, "bento": manifest.tag} | dict(labels)
        info = Gauge("understudy_model_info", "The model that answers; always 1.", list(told), multiprocess_mode="max")
        info.labels(**told).set(1)
        # Looking a labelled child up costs as much as counting.
        self._finished: dict[tuple[str, int, str], tuple[Any, Any]] = {}
        self._sources: dict[str, Any] = {}

    def answered(self, source: str, fault: str) -> None:
        """See `ServiceMetrics`."""
        child = self._sources.get(source)
        if child is None:
            child = self._sources[source] = self._answers.labels(source)
        child.inc()
        if fault:
            self._faults.labels(fault).inc()

    def finished(self, route: str, status: int, source: str, seconds: float) -> None:
        """See `ServiceMetrics`."""
        key = (route, status, source)
        children = self._finished.get(key)
        if children is None:
            children = self._finished[key] = self._requests.labels(*key), self._seconds.labels(*key)
        children[0].inc()
        children[1].observe(seconds)

    def in_flight(self, requests: int) -> None:
        """See `ServiceMetrics`."""
        self._in_flight.set(requests)

    def store(self, state: StoreState) -> None:
        """See `ServiceMetrics`."""
        lanes, loaded = state.lanes, state.loaded
        self._store["feature_connections"].set(lanes.connected)
        self._store["feature_connections_busy"].set(lanes.busy)
        self._store["feature_reads_waiting"].set(lanes.waiting)
        self._store["features_users"].set(loaded.users if loaded else 0)
        self._store["features_age_seconds"].set(time.time() - loaded.loaded_us / 1e6 if loaded else 0)


def exposition() -> tuple[bytes, str]:
    """What Prometheus scrapes, of all workers of this server, and its media type."""
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    from bentos.settings import metrics_directory

    if metrics_directory() is None:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


def forget_dead_workers(directory: Path) -> None:
    """Remove the live gauges of workers that are gone: a killed one would count as busy for ever."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not _alive(int(pid)):
            file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
