"""What the shipper counts, and its Prometheus form.

At every instant received = written + dropped (but for `oldest`) + pending; what was written is then uploaded, given up
as `oldest`, or waits in the spool. Next module: `shadow.router.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shadow.contracts import SPOOL_DROP_REASONS


@dataclass
class ShipperCounters:
    """Plain integers; the one place where the shipper counts."""

    received: int = 0
    """Records that came over the pipe."""
    written: int = 0
    """Of these, written to a segment in the spool."""
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPOOL_DROP_REASONS, 0))
    """Records given up, by reason (`shadow.contracts.SpoolDrop`); those of `oldest` had been written."""
    segments_closed: int = 0
    """Left-overs of an earlier shipper included."""
    segments_uploaded: int = 0
    segments_dropped: int = 0
    uploaded_bytes: int = 0
    """Compressed, manifests not counted."""
    uploads_failed: int = 0
    """Attempts at a segment or a manifest that failed; each was tried again."""
    spool_refused: int = 0
    """Times that the spool's volume let no manifest be saved, or nothing be removed; each was tried again."""
    streams_malformed: int = 0
    """Connections closed because what came was no stream of records."""
    uploaded_at: float = field(default_factory=monotonic)
    """When an upload last succeeded, on the monotonic clock; at first, when the process began."""


@dataclass(frozen=True)
class Gauges:
    """What is true now."""

    pending_records: int
    """In memory, for at most a second."""
    spool_bytes: int
    waiting_segments: int
    connected_routers: int
    stopped: bool


class ShipperCollector(Collector):
    """Reads counters and gauges when Prometheus asks."""

    def __init__(self, counters: ShipperCounters, gauges: Callable[[], Gauges]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """The metrics, made anew from the integers."""
        counters, now = self._counters, self._gauges()
        records = CounterMetricFamily("understudy_shipper_records", "Records by what became of them.", labels=["state"])
        for state in ("received", "written"):
            records.add_metric([state], getattr(counters, state))
        yield records
        dropped = CounterMetricFamily("understudy_shipper_dropped", "Records given up by reason.", labels=["reason"])
        for reason, number in counters.dropped.items():
            dropped.add_metric([reason], number)
        yield dropped
        segments = CounterMetricFamily(
            "understudy_shipper_segments", "Segments by what became of them.", labels=["state"]
        )
        for state in ("closed", "uploaded", "dropped"):
            segments.add_metric([state], getattr(counters, f"segments_{state}"))
        yield segments
        for name, text, value in (
            ("uploaded_bytes", "Compressed bytes uploaded.", counters.uploaded_bytes),
            ("uploads_failed", "Uploads that failed and were tried again.", counters.uploads_failed),
            ("spool_refused", "Refusals of the spool's volume to save or remove.", counters.spool_refused),
            ("streams_malformed", "Connections closed for nonsense.", counters.streams_malformed),
        ):
            yield CounterMetricFamily(f"understudy_shipper_{name}", text, value=value)
        for name, text, gauge in (
            ("pending_records", "Records in memory, not yet in the spool.", now.pending_records),
            ("spool_bytes", "Bytes of segments in the spool.", now.spool_bytes),
            ("spool_segments", "Closed segments that wait for their upload.", now.waiting_segments),
            ("routers", "Routers that are connected.", now.connected_routers),
            ("stopped", "1 while the full spool stops the mirroring.", int(now.stopped)),
            ("seconds_since_upload", "Since an upload last succeeded.", monotonic() - counters.uploaded_at),
        ):
            yield GaugeMetricFamily(f"understudy_shipper_{name}", text, value=gauge)


@contextmanager
def served(address: str, collector: Collector) -> Iterator[None]:
    """The metrics at `address` (HOST:PORT) while the block runs; no address, no port.

    `ValueError` for what is no address, `OSError` when the port is taken.
    """
    if not address:
        yield
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"metrics {address!r}: give HOST:PORT, 127.0.0.1:9091 say")
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(int(port), host.strip("[]"), registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
