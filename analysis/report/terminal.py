"""What `understudy gate` prints: the verdict, one aligned row per metric, what is wrong with the log, the reasons.

Next module: `analysis.cli`.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.report.result import Result
from analysis.verdict import OK, MetricResult
from analysis.wording import interval, shown

HEAD = ("metric", "estimate", "interval", "margin", "users (eff.)", "blocks (eff.)", "decision")


def to_lines(result: Result) -> list[str]:
    """The summary as lines of text."""
    lines = [f"{result.verdict}  {result.meaning}", *(f"  - {reason}" for reason in result.reasons)]
    if result.metrics:
        lines += ["", *_aligned([HEAD, *(_row(metric) for metric in result.metrics)])]
    if result.health:
        wrong = [check for check in result.health if check.state != OK]
        lines += ["", f"health: {len(result.health) - len(wrong)} of {len(result.health)} checks ok"]
        lines += [f"  {check.state}: {check.name}: {check.found} (expected: {check.expected})" for check in wrong]
    return lines


def _row(metric: MetricResult) -> tuple[str, ...]:
    unit, signed = metric.unit, metric.harm != "none"
    return (
        metric.name,
        ("≥ " if metric.relation == "≥" else "") + shown(metric.estimate, unit, signed),
        interval(metric.lower, metric.upper, unit, signed),
        "–" if metric.margin is None else shown(metric.margin, unit, sign=False),
        f"{shown(metric.users, 'count', sign=False)} ({shown(metric.effective_users, 'count', sign=False)})",
        f"{shown(metric.blocks, 'count', sign=False)} ({shown(metric.effective_blocks, 'count', sign=False)})",
        metric.decision.replace("_", " "),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Names and decisions to the left, numbers to the right."""
    last = len(row) - 1
    return [
        text.ljust(width) if column in (0, last) else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
