"""What the operator counts, as Prometheus and the kubelet get it."""

from __future__ import annotations

from collections import Counter

import aiohttp
from prometheus_client import CollectorRegistry

from shadow.controller.operator_metrics import Gauges, OperatorCollector, OperatorCounters, observed
from shadow.rehearsal import HOST
from tests.ports import free_port

NOW = Gauges(
    held=True,
    transitions=2,
    resources=3,
    waiting=1,
    routers=5,
    routers_current=4,
    calls=Counter({("patch", "ok"): 7, ("patch", "conflict"): 1}),
    answers=Counter({"200": 9}),
    kept=2,
)


def test_every_number_is_exported_under_its_name() -> None:
    registry, counters = CollectorRegistry(), OperatorCounters()
    counters.reconciles["ok"] += 4
    counters.reconcile_seconds = 1.5
    counters.events_seen["Service"] += 6
    counters.notes["Warning"] += 1
    registry.register(OperatorCollector(counters, lambda: NOW))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"understudy_operator_{name}", labels)

    assert value("reconciles_total", result="ok") == 4
    assert value("reconciles_total", result="failed") == 0
    assert value("reconcile_seconds_total") == 1.5
    assert value("watch_events_total", kind="Service") == 6
    assert value("events_total", type="Warning") == 1
    assert value("events_lost_total") == 0
    assert value("lists_total", result="failed") == 0
    assert value("api_calls_total", verb="patch", result="conflict") == 1
    assert value("config_answers_total", status="200") == 9
    assert (value("lease_held"), value("lease_transitions_total")) == (1, 2)
    assert (value("resources"), value("queue"), value("kept_fields")) == (3, 1, 2)
    assert (value("routers"), value("routers_current")) == (5, 4)


async def test_the_kubelet_is_told_why_it_is_not_ready_and_that_it_lives() -> None:
    reasons, port = ["the CRD is missing"], free_port()
    runner = await observed(HOST, port, OperatorCollector(OperatorCounters(), lambda: NOW), lambda: reasons[0])
    try:
        async with aiohttp.ClientSession(f"http://{HOST}:{port}") as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(path) as response:
                    return response.status, await response.text()

            assert await get("/readyz") == (503, "the CRD is missing\n")
            assert await get("/livez") == (200, "ok\n")
            reasons[0] = ""
            assert await get("/readyz") == (200, "ok\n")
            status, text = await get("/metrics")
            assert status == 200
            assert "understudy_operator_lease_held 1.0" in text
            assert (await get("/config"))[0] == 404
    finally:
        await runner.cleanup()
