"""The power curve: as SVG that stands alone, and in characters for a terminal.

Next module: `analysis.power_cli`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

Points = Sequence[tuple[float, float]]

COLUMNS: Final = 64
ROWS: Final = 11
WIDTH: Final = 640
HEIGHT: Final = 320
LEFT: Final = 56
TOP: Final = 24
PLOT: Final = (WIDTH - LEFT - 24, HEIGHT - TOP - 56)


def terminal_curve(points: Points, n: float, power: float, axis: str = "n") -> list[str]:
    """Power over n in characters: dots for the curve, a ring for the answer; 0 to 1 upwards."""
    if len(points) < 2:
        return []
    low, high = points[0][0], points[-1][0]
    grid = [[" "] * COLUMNS for _ in range(ROWS)]
    for at, height in points:
        grid[_row(height)][_column(at, low, high)] = "·"
    if low <= n <= high:
        grid[_row(power)][_column(n, low, high)] = "●"
    lines = [f"{_label(row)} │{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    left, right = f"{low:,.0f}", f"{high:,.0f}"
    return ["power", *lines, f"     └{'─' * COLUMNS}", f"      {left}{right:>{COLUMNS - len(left)}}  {axis}"]


def _row(height: float) -> int:
    return round((1 - min(1.0, max(0.0, height))) * (ROWS - 1))


def _column(at: float, low: float, high: float) -> int:
    return round((at - low) / (high - low) * (COLUMNS - 1))


def _label(row: int) -> str:
    return f"{1 - row / (ROWS - 1):4.1f}" if row % 2 == 0 else "    "


def to_svg(points: Points, n: float, power: float, title: str, axis: str = "n") -> str:
    """The curve as one SVG file without links; light and dark by the reader's preference."""
    low, high = points[0][0], points[-1][0]

    def x(at: float) -> float:
        return LEFT + (at - low) / (high - low) * PLOT[0]

    def y(height: float) -> float:
        return TOP + (1 - height) * PLOT[1]

    lines = [
        f'<line x1="{LEFT}" x2="{LEFT + PLOT[0]}" y1="{y(share):.1f}" y2="{y(share):.1f}" class="grid"/>'
        f'<text x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.1f}</text>'
        for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    ticks = [low + (high - low) * part / 4 for part in range(5)]
    lines += [
        f'<text x="{x(tick):.1f}" y="{TOP + PLOT[1] + 20}" text-anchor="middle">{tick:,.0f}</text>' for tick in ticks
    ]
    path = " ".join(f"{x(at):.1f},{y(height):.1f}" for at, height in points)
    answer = f'<circle cx="{x(n):.1f}" cy="{y(power):.1f}" r="5" class="answer"/>' if low <= n <= high else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>{STYLE}</style>'
        f'{"".join(lines)}<polyline points="{path}"/>{answer}'
        f'<text x="{LEFT + PLOT[0] / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{axis}</text>'
        f'<text x="{LEFT}" y="14">power</text></svg>\n'
    )


STYLE: Final = (
    "svg{color:#222;background:#fff}text{font:12px system-ui,sans-serif;fill:currentColor}"
    ".grid{stroke:currentColor;opacity:.2}polyline{fill:none;stroke:#1668b8;stroke-width:2}.answer{fill:#c2410c}"
    "@media(prefers-color-scheme:dark){svg{color:#eee;background:#161616}polyline{stroke:#6cb2f5}.answer{fill:#fb923c}}"
)
