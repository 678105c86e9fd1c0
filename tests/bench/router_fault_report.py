"""The tables of the faults: what the primary's users saw, what became of the copies."""

from __future__ import annotations

from collections import Counter
from typing import Final

from shadow.router.config import Arm
from shadow.router.pairlog import BUFFER_BYTES
from tests.bench.router_ill import FAULTS
from tests.bench.router_numbers import Spread, table, yes
from tests.bench.router_proxies import KINDS
from tests.bench.router_results import Cell, Results

FACTOR, ADDED_MS, MEMORY_FACTOR = 1.05, 0.1, 1.2
"""The goal: p99 ≤ no-fault × 1.05 + 0.1 ms, memory ≤ base + bounds × 1.2."""


def bounds_mb() -> float:
    """What the router's configuration lets it keep for one arm: its queue, answers under way, the pair log's buffer."""
    arm = Arm(name="shadow", url="")
    return (arm.queue_bytes + arm.concurrency * arm.answer_bytes + BUFFER_BYTES) / 1e6


def fault_report(results: Results) -> str:
    """Both tables and the verdicts."""
    cells = {
        (fault, kind): found
        for fault in FAULTS
        for kind in KINDS
        if (found := results.rounds(f"faults/{fault}/{kind}"))
    }
    lines = ["### Faults of the shadow", ""]
    if not cells:
        return "\n".join([*lines, "Not measured."])
    ours = {fault: found for (fault, kind), found in cells.items() if kind == "router"}
    longest = max(cell["ill"]["sent"] / cell["rate"] for found in cells.values() for cell in found)
    rate = next(iter(cells.values()))[0]["rate"]
    lines += [
        f"{rate:,.0f} requests/s, half of what the router does with every request mirrored, for {longest:.0f} s a cell "
        "and round, open loop. ms: median of the rounds, in the no-fault time just before → with the fault.",
        "",
        table(_HEAD, [_row(fault, kind, found) for (fault, kind), found in cells.items()]),
        "",
        "What became of the router's copies, and whether its counters add up with what the client sent:",
        "",
        table(("fault", "outcomes", "at the shadow", "adds up"), [_copies(*each) for each in ours.items()]),
        "",
        *(_verdicts(ours) if ours else []),
    ]
    return "\n".join([*lines, "", results.origin("faults/")])


_HEAD: Final = (
    "shadow",
    "proxy",
    "sent",
    "answered",
    "not answered, by kind",
    "p50",
    "p99",
    "p99, difference by round",
    "µs CPU",
    "MB, before → peak",
    "rounds",
)


def _row(fault: str, kind: str, cells: list[Cell]) -> list[object]:
    errors: Counter[str] = Counter()
    for cell in cells:
        errors.update(cell["ill"]["errors"])
    differences = _differences(cells)
    return [
        FAULTS[fault],
        kind,
        f"{sum(cell['ill']['sent'] for cell in cells):,}",
        f"{sum(cell['ill']['answered'] for cell in cells):,}",
        ", ".join(f"{number:,} {name}" for name, number in errors.most_common()) or "0",
        before_after(cells, "p50"),
        before_after(cells, "p99"),
        Spread.of(differences).text(2, sign=True) if differences else "–",
        Spread.of(cell["us"] for cell in cells).text(0),
        f"{_most(cells, 'base_mb', kind):.0f} → {_most(cells, 'peak_mb', kind):.0f}",
        len(cells),
    ]


def before_after(cells: list[Cell], name: str) -> str:
    """Medians over the rounds, of what was answered."""
    found = [[cell[half]["latency_ms"][name] for cell in cells if cell[half]["latency_ms"]] for half in ("calm", "ill")]
    return " → ".join(f"{Spread.of(values).median:,.2f}" if values else "–" for values in found)


def _differences(cells: list[Cell]) -> list[float]:
    """p99 with the fault − without, by round."""
    both = [cell for cell in cells if cell["ill"]["latency_ms"] and cell["calm"]["latency_ms"]]
    return [cell["ill"]["latency_ms"]["p99"] - cell["calm"]["latency_ms"]["p99"] for cell in both]


def _most(cells: list[Cell], name: str, kind: str) -> float:
    """The most of that process in any round; the shipper is no part of the router's bounds."""
    return max(cell[name][kind] for cell in cells)


def _copies(fault: str, cells: list[Cell]) -> list[object]:
    outcomes: Counter[str] = Counter()
    for cell in cells:
        outcomes.update(cell["accounts"]["outcomes"] | {"under way": cell["accounts"]["in_flight"]})
    total = sum(outcomes.values()) or 1
    return [
        FAULTS[fault],
        ", ".join(f"{number / total:.2%} {name}" for name, number in outcomes.most_common() if number),
        f"{sum(cell['shadow']['requests'] for cell in cells):,} requests, "
        f"{sum(cell['shadow']['connections'] for cell in cells):,} connections",
        "yes" if all(adds_up(cell) for cell in cells) else "**no**",
    ]


def adds_up(cell: Cell) -> bool:
    """Whether every request that the client sent was received and has exactly one place, and no record was lost."""
    return not any(cell["accounts"][name] for name in ("missing", "nowhere", "records_lost"))


def _verdicts(ours: dict[str, list[Cell]]) -> list[str]:
    band = max(map(abs, _differences(ours.get("none", []))), default=0.0)
    faults = {fault: cells for fault, cells in ours.items() if fault != "none"}
    unanswered = [fault for fault, cells in faults.items() if any(_unanswered(cell) for cell in cells)]
    slower = [fault for fault, cells in faults.items() if not _kept(cells, 0.0)]
    beyond = [fault for fault in slower if not _kept(faults[fault], band)]
    limit = MEMORY_FACTOR * bounds_mb()
    heavy = [fault for fault, cells in ours.items() if _grown(cells) > limit]
    return [
        f"- Every request answered by the primary: {_told(unanswered, len(faults))}",
        f"- p99 within {FACTOR} × + {ADDED_MS} ms of the no-fault time beside it, in the median of the rounds: "
        f"{_told(slower, len(faults))}",
        f"- The band of this run (largest difference of two no-fault times): {band:.2f} ms; beyond it as well: "
        f"{', '.join(FAULTS[fault] for fault in beyond) or 'none'}.",
        f"- The router's memory at most {limit:.0f} MB above its base (bounds {bounds_mb():.0f} MB × {MEMORY_FACTOR}): "
        f"{_told(heavy, len(ours))} Most: {max((_grown(cells) for cells in ours.values()), default=0.0):.1f} MB.",
    ]


def _told(missed: list[str], of: int) -> str:
    about = (
        f" (kept in {of - len(missed)} of {of}, not: {', '.join(FAULTS[fault] for fault in missed)})" if missed else ""
    )
    return f"{yes(not missed)}{about}."


def _unanswered(cell: Cell) -> int:
    return cell["ill"]["sent"] - cell["ill"]["answered"]


def _kept(cells: list[Cell], band: float) -> bool:
    """Whether the median of the rounds keeps to the goal, or to the band if that is wider."""
    if len(_differences(cells)) < len(cells):
        return False
    allowed = Spread.of((FACTOR - 1) * cell["calm"]["latency_ms"]["p99"] + ADDED_MS for cell in cells).median
    return Spread.of(_differences(cells)).median <= max(allowed, band)


def _grown(cells: list[Cell]) -> float:
    return max(cell["peak_mb"]["router"] - cell["base_mb"]["router"] for cell in cells)
