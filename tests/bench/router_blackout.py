"""Memory of the router while its shadow is gone for long: sampled, fitted, its counters held against the client's."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.bench.router_fault_report import MEMORY_FACTOR, adds_up, before_after, bounds_mb
from tests.bench.router_faults import CAPACITY_SECONDS, WARM_SECONDS, accounts, half_capacity, shadow
from tests.bench.router_ill import BLACKOUT
from tests.bench.router_load import open_loop
from tests.bench.router_numbers import Slope, table, yes
from tests.bench.router_proxies import Upstreams, proxy, upstreams
from tests.bench.router_results import Cell, Results
from tests.bench.router_stage import Bench

SAMPLE_SECONDS: Final = 2.0


def measure_blackout(bench: Bench, results: Results, seconds: float, rate: float = 0) -> None:
    """One long run at `rate`, half the capacity unless given."""
    results.forget("blackout/")
    with upstreams(bench) as plain:
        rate = rate or half_capacity(bench, results, plain, CAPACITY_SECONDS)
        results.measured("blackout/router/1", lambda: _measured(bench, plain, rate, seconds))


def _measured(bench: Bench, plain: Upstreams, rate: float, seconds: float) -> Cell:
    with (
        shadow(bench, 0) as gone,
        proxy(bench, "router", Upstreams(plain.primary, gone.port)) as router,
        ThreadPoolExecutor(1) as pool,
    ):
        warm = [open_loop(router.port, rate, WARM_SECONDS), open_loop(router.port, rate, max(2, seconds / 30))]
        base = router.memory_mb()
        gone.be(BLACKOUT)
        samples, started = [], time.monotonic()
        running = pool.submit(open_loop, router.port, rate, seconds)
        while not running.done():
            samples.append(
                [time.monotonic() - started, router.memory_mb(), router.counters()["arms"]["shadow"]["queue_bytes"]]
            )
            time.sleep(SAMPLE_SECONDS)
        found = running.result()
        sent = found["sent"] + sum(each["sent"] for each in warm)
        peak = router.peak_mb()
        return {
            "rate": rate,
            "seconds": seconds,
            "ill": found,
            "calm": warm[1],
            "base_mb": base,
            "peak_mb": peak,
            "samples": samples,
            "accounts": accounts(router, sent),
        }


def blackout_report(results: Results) -> str:
    """The slope of the second half, the bound, the accounts."""
    lines = ["### Blackout of the shadow", ""]
    cell = results.get("blackout/router/1")
    if cell is None:
        return "\n".join([*lines, "Not measured."])
    found = cell["ill"]
    lines += [
        f"The shadow's host is gone for {cell['seconds']:,.0f} s at {cell['rate']:,.0f} requests/s: "
        f"{found['answered']:,} of {found['sent']:,} answered; ms before → then: "
        f"p50 {before_after([cell], 'p50')}, p99 {before_after([cell], 'p99')}.",
        "",
        table(("process", "MB before", "MB peak", "slope of the second half, MB/min", "95 %"), _rows(cell)),
        "",
        *_verdicts(cell),
    ]
    return "\n".join([*lines, "", results.origin("blackout/")])


def slope_of(cell: Cell, part: str) -> Slope:
    """MB a minute of a process over the second half of the samples."""
    half = cell["samples"][len(cell["samples"]) // 2 :]
    return Slope.of([each[0] / 60 for each in half], [each[1][part] for each in half])


def _rows(cell: Cell) -> list[list[object]]:
    rows = []
    for part in cell["base_mb"]:
        slope = slope_of(cell, part)
        interval = f"{slope.low:+.3f} to {slope.high:+.3f}"
        rows.append(
            [part, f"{cell['base_mb'][part]:.1f}", f"{cell['peak_mb'][part]:.1f}", f"{slope.each:+.3f}", interval]
        )
    return rows


def _verdicts(cell: Cell) -> list[str]:
    found, slope, account = cell["ill"], slope_of(cell, "router"), cell["accounts"]
    limit = cell["base_mb"]["router"] + MEMORY_FACTOR * bounds_mb()
    outcomes = ", ".join(f"{number:,} {name}" for name, number in account["outcomes"].items())
    queued = max(each[2] for each in cell["samples"])
    return [
        f"- Every request answered by the primary: {yes(found['answered'] == found['sent'])}.",
        f"- Peak {cell['peak_mb']['router']:.1f} MB, at most base + bounds × {MEMORY_FACTOR} = {limit:.1f} MB: "
        f"{yes(cell['peak_mb']['router'] <= limit)}. Most bytes in the queue, as sampled: {queued / 1e6:.1f} MB.",
        f"- The router's slope is zero within its interval, or falls: {yes(slope.low <= 0)}.",
        f"- received = refused + not_eligible + not_sampled + in_flight + Σ outcomes, and received = sent: "
        f"{yes(adds_up(cell))} ({account['sent']:,} sent, {account['missing']} missing; {outcomes}).",
    ]
