"""What the operator counts, its Prometheus form, and the port for Prometheus and the kubelet.

Next module: `shadow.controller.handlers`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "understudy_operator"


@dataclass
class OperatorCounters:
    """Plain integers; the one place where the operator counts (its calls are counted by `shadow.controller.api`)."""

    reconciles: Counter[str] = field(default_factory=lambda: Counter({"ok": 0, "failed": 0, "invalid": 0}))
    reconcile_seconds: float = 0.0
    """Spent in all of them."""
    events_seen: Counter[str] = field(default_factory=Counter)
    """By kind of object: what the watches told."""
    notes: Counter[str] = field(default_factory=lambda: Counter({"Normal": 0, "Warning": 0}))
    notes_lost: int = 0
    """Events that could not be posted."""
    lists: Counter[str] = field(default_factory=lambda: Counter({"ok": 0, "failed": 0}))


@dataclass(frozen=True)
class Gauges:
    """What is true now."""

    held: bool
    transitions: int
    resources: int
    waiting: int
    routers: int
    routers_current: int
    calls: Counter[tuple[str, str]]
    answers: Counter[str]
    kept: int


class OperatorCollector(Collector):
    """Reads counters and gauges when Prometheus asks."""

    def __init__(self, counters: OperatorCounters, gauges: Callable[[], Gauges]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """The metrics, made anew from the integers."""
        counters, now = self._counters, self._gauges()
        yield _labelled("reconciles", "Reconciliations by result.", "result", counters.reconciles)
        yield CounterMetricFamily(
            f"{PREFIX}_reconcile_seconds", "Spent in reconciliations.", value=counters.reconcile_seconds
        )
        yield _labelled("watch_events", "What the watches told, by kind.", "kind", counters.events_seen)
        yield _labelled("events", "Events posted, by type.", "type", counters.notes)
        yield CounterMetricFamily(f"{PREFIX}_events_lost", "Events that were not posted.", value=counters.notes_lost)
        yield _labelled("lists", "Lists of all there is, by result.", "result", counters.lists)
        calls = CounterMetricFamily(f"{PREFIX}_api_calls", "Calls to the API server.", labels=["verb", "result"])
        for (verb, result), number in now.calls.items():
            calls.add_metric([verb, result], number)
        yield calls
        yield _labelled("config_answers", "Answers to routers, by status.", "status", now.answers)
        yield CounterMetricFamily(f"{PREFIX}_lease_transitions", "How often it took the lease.", value=now.transitions)
        for name, text, gauge in (
            ("lease_held", "1 while it holds the lease, and acts.", int(now.held)),
            ("resources", "ShadowDeployments.", now.resources),
            ("queue", "Resources that wait for a reconciliation.", now.waiting),
            ("routers", "Routers that asked for their configuration lately.", now.routers),
            ("routers_current", "Of these, with the newest one in force.", now.routers_current),
            ("kept_fields", "Fields of children that somebody else keeps.", now.kept),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=gauge)


def _labelled(name: str, text: str, label: str, numbers: Counter[str]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family


async def observed(host: str, port: int, collector: Collector, unready: Callable[[], str]) -> web.AppRunner:
    """Serve `/metrics`, `/livez` and `/readyz`; clean it up in the end. `OSError` when the port is taken."""
    registry = CollectorRegistry()
    registry.register(collector)

    async def metrics(_: web.Request) -> web.Response:
        text = generate_latest(registry).decode()
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = unready()
        return web.Response(status=503 if reason else 200, text=(reason or "ok") + "\n")

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/livez", livez), web.get("/readyz", readyz)])
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=15.0, shutdown_timeout=1.0)
    await runner.setup()
    async with asyncio.timeout(10):
        await web.TCPSite(runner, host, port).start()
    return runner
