"""CPU per request of the whole process tree: with every request mirrored, without a mirror, and with four arms.

Closed loop over 32 connections, the proxy alone on its core; rounds alternate, each with new processes. The router's
part counts copies, records, compression (zstd) and upload (file://) until all is settled; the peers log nothing.
"""

from __future__ import annotations

from typing import Final

from tests.bench.router_load import CONNECTIONS, cost
from tests.bench.router_numbers import Spread, table, yes
from tests.bench.router_proxies import KINDS, SEGMENT_SECONDS, proxy, upstreams
from tests.bench.router_results import Cell, Results
from tests.bench.router_stage import Bench

MODES: Final = {"mirror": ("shadow",), "plain": ()}
FANS: Final = {"one": ("shadow",), "four": ("shadow", "shadow-2", "shadow-3", "control")}
GOAL_US, STRETCH_US, STRETCH_RATE, GOAL_FAN = 100, 60, 10_000, 2.0
WHOLE: Final = 0.999
"""A round counts as mirrored in full from so many copies, and pairs, per request."""


def measure_cpu(
    bench: Bench, results: Results, kinds: tuple[str, ...], rounds: int, seconds: float, large: bool
) -> None:
    """Every kind with and without mirror, in turn; another one begins every round."""
    for kind in kinds:
        for mode in MODES:
            results.forget(f"cpu/{mode}/{kind}/")
    cases = [(kind, mode) for mode in MODES for kind in kinds]
    with upstreams(bench, large) as to:
        for number in range(1, rounds + 1):
            first = number % len(cases)
            for kind, mode in cases[first:] + cases[:first]:

                def measured(kind: str = kind, mode: str = mode) -> Cell:
                    with proxy(bench, kind, to, MODES[mode]) as under_test:
                        return cost(bench, under_test, to, seconds) | {"large": large}

                results.measured(f"cpu/{mode}/{kind}/{number}", measured)


def measure_fan(bench: Bench, results: Results, rounds: int, seconds: float, large: bool) -> None:
    """The router with one shadow, and with three and the control, in turn."""
    results.forget("fanout/")
    with upstreams(bench, large) as to:
        for number in range(1, rounds + 1):
            for fan in list(FANS)[:: 1 if number % 2 else -1]:

                def measured(fan: str = fan) -> Cell:
                    with proxy(bench, "router", to, FANS[fan]) as under_test:
                        return cost(bench, under_test, to, seconds) | {"large": large}

                results.measured(f"fanout/{fan}/{number}", measured)


def cpu_report(results: Results) -> str:
    """Both tables and what they say of the goals."""
    lines = [
        "### CPU per request",
        "",
        f"µs of user and system time of the whole process tree per request, wrk over {CONNECTIONS} connections, median "
        f"(range) of the rounds. Segments of the pair log are closed and uploaded every {SEGMENT_SECONDS} s.",
    ]
    for mode, about in (("mirror", "Every request mirrored:"), ("plain", "Without a mirror:")):
        rows = [row for kind in KINDS if (row := _row(kind, results.rounds(f"cpu/{mode}/{kind}")))]
        lines += ["", about, "", table(_HEAD, rows)]
    return "\n".join([*lines, "", *_cpu_verdicts(results), "", results.origin("cpu/")])


_HEAD: Final = (
    "proxy",
    "µs CPU per request",
    "of which the shipper",
    "requests/s on one core",
    "copies per request",
    "both answers recorded",
    "errors",
    "rounds",
)


def _row(name: str, rounds: list[Cell]) -> list[object]:
    if not rounds:
        return []
    shipper = [cell["us"]["shipper"] for cell in rounds if "shipper" in cell["us"]]
    return [
        name,
        Spread.of(cell["total_us"] for cell in rounds).text(),
        Spread.of(shipper).text() if shipper else "–",
        Spread.of(cell["per_second"] for cell in rounds).text(0),
        f"{min(cell['copies_per_request'] for cell in rounds):.3f}",
        f"{min(cell['records_per_request'] for cell in rounds):.3f}" if shipper else "–",
        sum(sum(cell["errors"].values()) for cell in rounds),
        len(rounds),
    ]


def _cpu_verdicts(results: Results) -> list[str]:
    medians = {
        (mode, kind): Spread.of(cell["total_us"] for cell in rounds).median
        for mode in MODES
        for kind in KINDS
        if (rounds := results.rounds(f"cpu/{mode}/{kind}"))
    }
    ours = medians.get(("mirror", "router"))
    if ours is None:
        return []
    rounds = results.rounds("cpu/mirror/router")
    whole = all(cell["records_per_request"] >= WHOLE and not any(cell["balance"]) for cell in rounds)
    rate = Spread.of(cell["per_second"] for cell in rounds).median
    peers = [
        f"- Below {kind}: {yes(ours < medians['mirror', kind])} ({ours:.1f} for {medians['mirror', kind]:.1f})."
        for kind in KINDS[1:]
        if ("mirror", kind) in medians
    ]
    return [
        f"- Every request recorded with both answers, and the counters add up: {yes(whole)}.",
        *peers,
        f"- At most {GOAL_US} µs: {yes(ours <= GOAL_US)}. Stretch, at most {STRETCH_US} µs: {yes(ours <= STRETCH_US)}; "
        f"stretch, {STRETCH_RATE:,} mirrored requests/s on one core: {yes(rate >= STRETCH_RATE)}.",
    ]


def fan_report(results: Results) -> str:
    """One shadow beside three and the control."""
    names = {"one": "one shadow", "four": "three shadows and the control"}
    rows = [row for fan, name in names.items() if (row := _row(name, results.rounds(f"fanout/{fan}")))]
    lines = ["### Three shadows and the control", ""]
    if not rows:
        return "\n".join([*lines, "Not measured."])
    pairs = zip(results.rounds("fanout/one"), results.rounds("fanout/four"), strict=False)
    ratios = [four["total_us"] / one["total_us"] for one, four in pairs]
    lines.append(table(_HEAD, rows))
    if ratios:
        ratio = Spread.of(ratios)
        lines += [
            "",
            f"Four arms cost {ratio.text(2)} times one, by round; below {GOAL_FAN:.0f} times: "
            f"{yes(ratio.median < GOAL_FAN)}.",
        ]
    return "\n".join([*lines, "", results.origin("fanout/")])
