"""Latency that a proxy adds at half of what the router can do with every request mirrored, by an open loop.

A round asks the upstream directly, the router without a mirror, with it, nginx and Envoy with theirs, and the router
without once more: the two rounds without differ by what the machine does, which is the band that a mirror's own
difference is held against.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from typing import Any, Final

from tests.bench.router_load import closed_loop, open_loop
from tests.bench.router_numbers import Spread, table, yes
from tests.bench.router_proxies import Upstreams, proxy, upstreams
from tests.bench.router_results import Cell, Results
from tests.bench.router_stage import Bench, Proxy, Watch

GOAL_MS: Final = {"p50": 0.15, "p99": 1.0}
GOAL_ON_OFF_MS: Final = 0.1
CASES: Final = {
    "direct": "the upstream itself",
    "off": "router, no mirror",
    "on": "router, all mirrored",
    "nginx": "nginx, all mirrored",
    "envoy": "envoy, all mirrored",
    "off-again": "router, no mirror, again",
}
CAPACITY_ROUNDS: Final = 3
WARM_SECONDS: Final = 1.0


def capacity(bench: Bench, results: Results, to: Upstreams, name: str, seconds: float) -> float:
    """Requests a second of the router on its core with every request mirrored: the best of three closed loops.

    The best, for others that want the core can only take from it.
    """
    for number in range(1, CAPACITY_ROUNDS + 1):

        def measured() -> Cell:
            with proxy(bench, "router", to) as router:
                closed_loop(router.port, WARM_SECONDS)
                found = closed_loop(router.port, seconds)
                router.settle()
                return found | {"per_second": found["answered"] / found["seconds"]}

        results.measured(f"{name}/capacity/{number}", measured)
    return max(cell["per_second"] for cell in results.rounds(f"{name}/capacity"))


def measure_latency(bench: Bench, results: Results, rounds: int, seconds: float, large: bool, rate: float = 0) -> None:
    """All cases in each round; `rate` is half the capacity unless given."""
    results.forget("latency/")
    with upstreams(bench, large) as to:
        rate = rate or capacity(bench, results, to, "latency", min(5, seconds)) / 2
        for number in range(1, rounds + 1):
            for case in CASES:
                results.measured(f"latency/{case}/{number}", _measure(bench, to, case, rate, seconds, large))


def _measure(bench: Bench, to: Upstreams, case: str, rate: float, seconds: float, large: bool) -> Callable[[], Cell]:
    def measured() -> Cell:
        kind = case if case in ("nginx", "envoy") else "router"
        arms = () if case.startswith("off") else ("shadow",)
        direct: Any = nullcontext(Proxy("direct", to.primary))
        with direct if case == "direct" else proxy(bench, kind, to, arms) as under_test:
            open_loop(under_test.port, rate, WARM_SECONDS)
            watch = Watch(bench.cores, under_test)
            found = open_loop(under_test.port, rate, seconds)
            us = sum(watch.spent().values()) / max(1, found["answered"]) * 1e6
            return found | {"large": large, "rate": rate, "us": us, "others": watch.others()}

    return measured


def latency_report(results: Results) -> str:
    """The table of all cases, the band, and what they say of the goals."""
    rounds = {case: results.rounds(f"latency/{case}") for case in CASES}
    if not rounds["direct"]:
        return "### Latency at half load\n\nNot measured."
    rate = rounds["direct"][0]["rate"]
    head = ("", "p50 ms", "p99 ms", "p50 added", "p99 added", "sent", "not answered", "µs CPU per request", "rounds")
    rows = [_row(case, cells, rounds["direct"]) for case, cells in rounds.items() if cells]
    lines = [
        "### Latency at half load",
        "",
        f"{rate:,.0f} requests/s, open loop, from the moment a request was due; added: over the upstream itself in the "
        "same round. Median (range) of the rounds.",
        "",
        table(head, rows),
        "",
        *_verdicts(rounds),
    ]
    return "\n".join([*lines, "", results.origin("latency/")])


def _row(case: str, cells: list[Cell], direct: list[Cell]) -> list[object]:
    added = [Spread.of(_difference(cells, direct, name)).text(3, sign=True) for name in GOAL_MS]
    return [
        CASES[case],
        *(Spread.of(cell["latency_ms"][name] for cell in cells).text(3) for name in GOAL_MS),
        *(added if case != "direct" else ["", ""]),
        f"{sum(cell['sent'] for cell in cells):,}",
        sum(cell["sent"] - cell["answered"] for cell in cells),
        Spread.of(cell["us"] for cell in cells).text(0) if case != "direct" else "",
        len(cells),
    ]


def _difference(one: list[Cell], other: list[Cell], name: str) -> list[float]:
    return [a["latency_ms"][name] - b["latency_ms"][name] for a, b in zip(one, other, strict=False)]


def _verdicts(rounds: dict[str, list[Cell]]) -> list[str]:
    """Against the goals: medians over the rounds, and the band as the difference of the two medians without mirror."""
    lines = []
    if rounds["on"]:
        for name, goal in GOAL_MS.items():
            added = Spread.of(_difference(rounds["on"], rounds["direct"], name)).median
            lines.append(f"- The router adds {name} {added:+.3f} ms; at most {goal} ms: {yes(added <= goal)}.")
    if not (rounds["on"] and rounds["off"] and rounds["off-again"]):
        return lines
    for name in GOAL_MS:
        on, off, again = (
            median(cell["latency_ms"][name] for cell in rounds[case]) for case in ("on", "off", "off-again")
        )
        band, difference = abs(off - again), on - (off + again) / 2
        apart = Spread.of(map(abs, _difference(rounds["off"], rounds["off-again"], name)))
        lines.append(
            f"- {name}, mirror on − off: {difference:+.3f} ms; off − off: {band:.3f} ms (by round {apart.text(3)}); "
            f"within that + {GOAL_ON_OFF_MS} ms: {yes(difference <= band + GOAL_ON_OFF_MS)}."
        )
    return lines
