"""The measurements of a choice as people and machines read them: a table, a picture, metrics for MLflow, JSON.

They lie beside the bundle, never in it. Next module: `bentos.index_cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from bentos.index_choice import Choice
from bentos.index_plot import plot
from bentos.index_report import CHOSEN, Candidate
from bentos.index_timing import Measurements, Timed, measured

MEASURED: Final = "measured.json"
METRICS: Final = "metrics.json"
TABLE: Final = "table.txt"
PLOT: Final = "recall_latency.svg"
HEAD: Final = (
    "index", "recall@10", "≥ (95 %)", "computations", "p50 ms", "p95 ms", "p99 ms", "build s", "MB", ""
)  # fmt: skip


def beside(bundle: Path) -> Path:
    """The directory for the measurements of `bundle`."""
    return bundle.with_name(bundle.name + "-index")


def record(choice: Choice, version: str, directory: Path, queries: int, *, curves: bool) -> Measurements:
    """Time the candidates of `choice` and write everything into `directory`. `OSError` when that cannot be done."""
    found = measured(choice, version, queries, curves=curves)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MEASURED).write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    (directory / METRICS).write_bytes(msgspec.json.format(msgspec.json.encode(metrics(found)), indent=2))
    (directory / TABLE).write_text(table(found) + "\n")
    if drawn := plot(found):
        (directory / PLOT).write_text(drawn)
    return found


def metrics(measurements: Measurements) -> dict[str, float]:
    """The kept index in numbers, by names that MLflow takes; nothing when nothing was measured."""
    kept = [each for each in measurements.candidates if each.candidate.outcome == CHOSEN]
    if not kept:
        return {}
    figures, times = kept[0].candidate.reporting, kept[0].times
    return {
        "index_recall_at_10": figures.recall,
        "index_recall_at_10_lower": figures.lower,
        "index_computations": figures.computations,
        "index_bytes": float(kept[0].candidate.bytes),
        "index_build_seconds": kept[0].build_seconds,
        "index_p50_ms": times.p50_ms,
        "index_p95_ms": times.p95_ms,
        "index_p99_ms": times.p99_ms,
    }


def table(measurements: Measurements) -> str:
    """The candidates in aligned columns; the kept one has a ▸ before and its word behind."""
    if not measurements.candidates:
        return measurements.reason
    rows = [HEAD, *(_row(each) for each in measurements.candidates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(
            text.ljust(width) if column in (0, len(HEAD) - 1) else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    users = f"recall@10 by {measurements.users:,} users who did not choose; seen: {measurements.seen}"
    return "\n".join([*lines, "", f"{users}. Kept: {measurements.reason}."])


def _row(timed: Timed) -> tuple[str, ...]:
    found, times = timed.candidate, timed.times
    mark = "▸ " if found.outcome == CHOSEN else "  "
    return (
        mark + " ".join(filter(None, (found.index.name, found.index.parameters))),
        f"{found.reporting.recall:.4f}",
        f"{found.reporting.lower:.4f}",
        computations(found),
        f"{times.p50_ms:.3f}",
        f"{times.p95_ms:.3f}",
        f"{times.p99_ms:.3f}",
        f"{timed.build_seconds:.1f}",
        f"{found.bytes / 1e6:.1f}",
        found.outcome,
    )


def computations(candidate: Candidate) -> str:
    """Their number, and what each weighs when that is not 1."""
    weight = candidate.index.weight
    return f"{candidate.reporting.computations:,.0f}{f' × {weight}' if weight > 1 else ''}"
