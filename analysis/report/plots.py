"""Two pictures as inline SVG, drawn from the result alone: guardrails against their margins, and the latency curves.

Colours are CSS variables of the page, so light and dark need one drawing; shapes, dashes and texts say the same as the
colours. Next module: `analysis.report.html`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from analysis.measures import LOWER
from analysis.report.result import LatencyRow
from analysis.verdict import MetricResult
from analysis.wording import shown

WIDTH: Final = 880
LABELS: Final = 210
"""Left part of the forest plot, for the names."""
TEXTS: Final = 250
"""Right part, for the numbers."""
ROW: Final = 46
REACH: Final = (-1.5, 2.5)
"""What the forest plot shows of the harm, in margins; beyond it an arrow stands for the rest."""
STUB: Final = 36
COLOURS: Final = {"pass": "good", "pass_with_note": "note", "hold": "bad", "inconclusive": "unsure"}


def forest(metrics: Sequence[MetricResult]) -> str:
    """Every guardrail with estimate and interval as harm in units of its own margin: left of the line at 1 is safe."""
    rows = [metric for metric in metrics if metric.role == "guardrail"]
    if not rows:
        return ""
    bottom = 34 + ROW * len(rows)
    parts = [_rule(0.0, bottom, "no difference", "axis"), _rule(1.0, bottom, "margin", "margin")]
    parts += [_guardrail(metric, 34 + ROW * position) for position, metric in enumerate(rows)]
    hint = f'<text x="{_across(-0.75):.1f}" y="{bottom + 32}" class="dim mid">← better than the comparison</text>'
    harm = f'<text x="{_across(1.75):.1f}" y="{bottom + 32}" class="dim mid">harm →</text>'
    title = "Guardrails: harm in units of each margin, with interval"
    return _svg(bottom + 44, title, "".join(parts) + hint + harm)


def _across(harm: float) -> float:
    """The x of a harm given in margins."""
    low, high = REACH
    part = (min(max(harm, low), high) - low) / (high - low)
    return LABELS + part * (WIDTH - LABELS - TEXTS)


def _rule(harm: float, bottom: int, label: str, style: str) -> str:
    x = _across(harm)
    return (
        f'<line x1="{x:.1f}" y1="22" x2="{x:.1f}" y2="{bottom}" class="{style}"/>'
        f'<text x="{x:.1f}" y="14" class="dim mid">{label}</text>'
    )


def _guardrail(metric: MetricResult, top: int) -> str:
    middle = top + ROW // 2
    name = f'<text x="0" y="{middle - 3}" class="name">{escape(metric.name)}</text>'
    name += f'<text x="0" y="{middle + 13}" class="dim">{escape(metric.decision.replace("_", " "))}</text>'
    if metric.estimate is None or metric.margin is None:
        return f'{name}<text x="{WIDTH}" y="{middle + 4}" class="end">no estimate</text>'
    sign = -1 if metric.harm == LOWER else 1
    limits = [metric.lower, metric.upper] if sign > 0 else [metric.upper, metric.lower]
    low, high = (None if limit is None else sign * limit / metric.margin for limit in limits)
    colour = COLOURS[metric.decision]
    drawing = _whisker(low, high, middle, colour) + _point(sign * metric.estimate / metric.margin, middle, metric)
    value = f"{'≥ ' if metric.relation == '≥' else ''}{shown(metric.estimate, metric.unit)}"
    margin = f"margin {shown(metric.margin, metric.unit, sign=False)} {'less' if sign < 0 else 'more'}"
    texts = f'<text x="{WIDTH}" y="{middle - 3}" class="end">{value}</text>'
    return f'{name}{drawing}{texts}<text x="{WIDTH}" y="{middle + 13}" class="dim end">{margin}</text>'


def _whisker(low: float | None, high: float | None, y: int, colour: str) -> str:
    """The interval; an arrow where it leaves the picture or has no end, only an arrow where all of it is outside."""
    first = REACH[0] if low is None else low
    last = REACH[1] if high is None else high
    x1, x2 = _across(first), _across(last)
    if first >= REACH[1]:
        x1, ends = x2 - STUB, _end(x2, y, 1)
    elif last <= REACH[0]:
        x2, ends = x1 + STUB, _end(x1, y, -1)
    else:
        ends = _end(x1, y, -1 if first <= REACH[0] else 0) + _end(x2, y, 1 if last >= REACH[1] else 0)
    return f'<path d="M{x1:.1f} {y} H{x2:.1f} {ends}" class="whisker {colour}"/>'


def _end(x: float, y: int, way: int) -> str:
    """An arrowhead to the left (−1) or right (1), or a bar (0)."""
    if way == 0:
        return f"M{x:.1f} {y - 6} V{y + 6} "
    return f"M{x - 7 * way:.1f} {y - 5} L{x:.1f} {y} L{x - 7 * way:.1f} {y + 5} "


def _point(harm: float, y: int, metric: MetricResult) -> str:
    """Round: pass, square: hold, diamond: undecided. Nothing is drawn where the estimate is outside the picture."""
    if not REACH[0] <= harm <= REACH[1]:
        return ""
    x, colour = _across(harm), COLOURS[metric.decision]
    if metric.decision == "hold":
        return f'<rect x="{x - 6:.1f}" y="{y - 6}" width="12" height="12" class="dot {colour}"/>'
    if metric.decision == "inconclusive":
        return f'<path d="M{x:.1f} {y - 8} l8 8 l-8 8 l-8 -8 z" class="dot {colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y}" r="6.5" class="dot {colour}"/>'


LEFT: Final = 54
PLOT: Final = 250


def latency_curves(rows: Sequence[LatencyRow]) -> str:
    """The share of calls answered within a time, per arm, on a logarithmic axis; the 95 % line is drawn."""
    times = [time for row in rows for time in row.curve_ms if time > 0]
    if not times or min(times) == max(times):
        return ""
    low, high = math.log10(min(times)), math.log10(max(times))

    def x(time: float) -> float:
        return LEFT + (math.log10(max(time, 10**low)) - low) / (high - low) * (WIDTH - LEFT - 40)

    parts = [_share_line(share) for share in (0.0, 0.5, 0.95, 1.0)]
    parts += [
        f'<line x1="{x(tick):.1f}" y1="14" x2="{x(tick):.1f}" y2="{14 + PLOT}" class="grid"/>'
        f'<text x="{x(tick):.1f}" y="{PLOT + 32}" class="dim mid">{tick:g} ms</text>'
        for tick in _ticks(low, high)
    ]
    for row in rows:
        points = " ".join(
            f"{x(time):.1f},{_height(position / (len(row.curve_ms) - 1)):.1f}"
            for position, time in enumerate(row.curve_ms)
        )
        parts.append(f'<polyline points="{points}" class="curve {escape(row.arm)}"/>')
    return _svg(PLOT + 44, "Share of calls answered within a time, shadow and control", "".join(parts))


def _height(share: float) -> float:
    return 14 + PLOT * (1 - share)


def _share_line(share: float) -> str:
    y, style = _height(share), "margin" if share == 0.95 else "grid"
    return (
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}" class="{style}"/>'
        f'<text x="{LEFT - 8}" y="{y + (10 if share == 0.95 else 4):.1f}" class="dim end">{100 * share:.0f} %</text>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade that is inside; every decade only when there would be too many."""
    every = [base * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for base in (1, 2, 5)]
    inside = [tick for tick in every if low <= math.log10(tick) <= high]
    return inside if len(inside) <= 12 else inside[::3]


def _svg(height: int, title: str, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>{content}</svg>'
    )
