"""What a shadow that is ill does to the primary's answers: every fault, every proxy, at half of the router's capacity.

A cell is a new proxy before a shadow that is well for a while and then ill; the client is an open loop all the time. So
every fault has its no-fault time beside it, in the same process. The row "no fault" has none in both, and tells how far
two such times of this machine are apart. Next: `tests.bench.router_blackout`.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from shadow.processes import StepError
from shadow.rehearsal import HOST
from tests.bench.router_ill import FAULTS
from tests.bench.router_latency import capacity
from tests.bench.router_load import open_loop
from tests.bench.router_proxies import GONE, Upstreams, proxy, upstreams
from tests.bench.router_results import Cell, Results
from tests.bench.router_stage import Bench, Cores, Proxy, Watch, listens
from tests.bench.serving_stage import start_redis
from tests.ports import free_port

WARM_SECONDS: Final = 1.0
CAPACITY_SECONDS: Final = 5.0
LEFT_SECONDS: Final = 5.0
"""How long copies that are under way may take to end before the counters are read."""


@dataclass(frozen=True)
class Times:
    """How long a cell is well and ill, in seconds, and its rate in requests a second."""

    rate: float
    calm: float
    ill: float


@dataclass(frozen=True)
class Shadow:
    """The fault server: where it is, and what it can be told."""

    port: int
    control: int
    dns: int

    def be(self, fault: str) -> dict[str, int]:
        """Have that fault from now on; what it had seen until now."""
        with socket.create_connection((HOST, self.control), timeout=10) as told:
            told.sendall(f"{fault}\n".encode())
            told.shutdown(socket.SHUT_WR)
            return json.loads(b"".join(iter(lambda: told.recv(4096), b"")))


@contextmanager
def shadow(bench: Bench, redis: int) -> Iterator[Shadow]:
    """A fault server that is well."""
    found = Shadow(free_port(), free_port(), free_port())
    ports = map(str, (found.port, found.control, found.dns, redis))
    start = [sys.executable, "-m", "tests.bench.router_fault_server", *ports]
    with bench.started("shadow", start, listens(found.control)):
        yield found


@contextmanager
def redis_primary(bench: Bench) -> Iterator[tuple[int, int]]:
    """A primary that reads Redis for each request; its port and that Redis's."""
    port, redis = free_port(), free_port()
    start_redis(bench.stage, redis)
    with bench.started(
        "primary", [sys.executable, "-m", "tests.bench.router_redis", str(port), str(redis)], listens(port)
    ):
        yield port, redis
    bench.stage.stop("redis")


def measure_faults(
    bench: Bench,
    results: Results,
    kinds: tuple[str, ...],
    faults: tuple[str, ...],
    rounds: int,
    calm: float,
    ill: float,
    rate: float = 0,
) -> None:
    """Every fault before every proxy, round by round; `rate` is half the capacity unless given."""
    for fault in faults:
        for kind in kinds:
            results.forget(f"faults/{fault}/{kind}/")
    with upstreams(bench) as plain, redis_primary(bench) as (reading, redis):
        if faults == tuple(FAULTS):
            results.forget("faults/capacity/")
        rate = rate or half_capacity(bench, results, plain, min(CAPACITY_SECONDS, ill))
        times = Times(rate, calm, ill)
        for number in range(1, rounds + 1):
            for fault in faults:
                primary = reading if fault == "redis" else plain.primary
                for kind in kinds:
                    measured = _measure(bench, kind, fault, Upstreams(primary, 0), redis, times)
                    results.measured(f"faults/{fault}/{kind}/{number}", measured)


def half_capacity(bench: Bench, results: Results, to: Upstreams, seconds: float) -> float:
    """Half the router's capacity: as the other cells of the file had it, else measured."""
    if not results.rounds("faults/capacity"):
        return capacity(bench, results, to, "faults", seconds) / 2
    return max(cell["per_second"] for cell in results.rounds("faults/capacity")) / 2


def _measure(bench: Bench, kind: str, fault: str, to: Upstreams, redis: int, times: Times) -> Callable[[], Cell]:
    def measured() -> Cell:
        with shadow(bench, redis) as ill:
            well = replace(to, shadow=ill.port, dns=ill.dns)
            with proxy(bench, kind, well) as under_test:
                warm = open_loop(under_test.port, times.rate, WARM_SECONDS)
                calm = open_loop(under_test.port, times.rate, times.calm)
                if fault != "dns":
                    return {"calm": calm} | _ill(
                        bench.cores, under_test, ill, fault, times, warm["sent"] + calm["sent"]
                    )
            # A name is in a proxy's configuration from its start: the second half needs a new one.
            with proxy(bench, kind, replace(well, shadow_host=GONE)) as under_test:
                warm = open_loop(under_test.port, times.rate, WARM_SECONDS)
                return {"calm": calm} | _ill(bench.cores, under_test, ill, fault, times, warm["sent"])

    return measured


def _ill(cores: Cores, under_test: Proxy, ill: Shadow, fault: str, times: Times, before: int) -> Cell:
    """The second half; `before` requests have been sent to this proxy already."""
    under_test.forget_peak()
    base, watch, seen = under_test.memory_mb(), Watch(cores, under_test), ill.be(fault)
    found = open_loop(under_test.port, times.rate, times.ill)
    peak, us, others = under_test.peak_mb(), sum(watch.spent().values()) / found["sent"] * 1e6, watch.others()
    now = ill.be("")
    return {
        "ill": found,
        "base_mb": base,
        "peak_mb": peak,
        "us": us,
        "others": others,
        "rate": times.rate,
        "shadow": {name: now[name] - seen[name] for name in ("requests", "connections")},
        "accounts": accounts(under_test, before + found["sent"]),
    }


def accounts(under_test: Proxy, sent: int) -> dict[str, Any]:
    """The router's counters beside what the client `sent` to it; empty for who has none.

    Copies may be under way still: they have their place in the identity. `missing` is what the client sent and the
    router did not receive, 0 unless the client gave up before it sent.
    """
    with suppress(StepError):
        under_test.settle(LEFT_SECONDS)
    found = under_test.counters()
    if not found:
        return {}
    arm = found["arms"]["shadow"]
    outcomes = {name: number for name, number in arm["outcomes"].items() if number}
    places = arm["refused"] + arm["not_eligible"] + arm["not_sampled"] + arm["in_flight"] + sum(outcomes.values())
    return {
        "sent": sent,
        "missing": sent - arm["received"],
        "nowhere": arm["received"] - places,
        "in_flight": arm["in_flight"],
        "outcomes": outcomes,
        "records_lost": found["pair_log"]["dropped"],
    }
