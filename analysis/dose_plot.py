"""The plot of docs/simulation.md: one panel per mutant, HOLD and PASS against users. Plain SVG, no library.

Next module: `analysis.simulate_cli`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby

from analysis.dose_response import Detection

ACROSS, WIDE, HIGH = 3, 250, 150
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 26, 30
HEAD = 34
HELD, PASSED = "#b3261e", "#1f5fa8"
STYLE = "text{font:11px system-ui,sans-serif;fill:#333}.t{font-weight:600}.g{stroke:#ddd}.l{fill:none;stroke-width:2}"


def to_svg(found: Sequence[Detection]) -> str:
    """Panels in the order in which `found` first names their mutants."""
    names = list(dict.fromkeys(each.mutant for each in found))
    ordered = sorted(found, key=lambda each: (names.index(each.mutant), each.users))
    panels = [_panel(number, list(points)) for number, (_, points) in enumerate(groupby(ordered, lambda d: d.mutant))]
    width, height = ACROSS * WIDE, HEAD + -(-len(names) // ACROSS) * HIGH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="How often each fault is held and passed, against users">\n<style>{STYLE}</style>\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n{_legend()}\n' + "\n".join(panels) + "\n</svg>\n"
    )


def _legend() -> str:
    texts = ((10, HELD, "", "HOLD"), (90, PASSED, "5 4", "PASS"))
    keys = [
        f'<line x1="{x}" x2="{x + 26}" y1="16" y2="16" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
        f'<text x="{x + 32}" y="20">{text}</text>'
        for x, colour, dash, text in texts
    ]
    return "\n".join([*keys, '<text x="170" y="20">share of logs, against users; the rest is INCONCLUSIVE</text>'])


def _panel(number: int, points: Sequence[Detection]) -> str:
    """One mutant."""
    left, top = number % ACROSS * WIDE + LEFT, HEAD + number // ACROSS * HIGH + TOP
    right, bottom = left + WIDE - LEFT - RIGHT, top + HIGH - TOP - BOTTOM
    low, high = math.log(points[0].users), math.log(points[-1].users)

    def x(users: int) -> float:
        return left + (right - left) * ((math.log(users) - low) / (high - low) if high > low else 0.5)

    def y(share: float) -> float:
        return bottom - (bottom - top) * share

    parts = [f'<text class="t" x="{left}" y="{top - 9}">{escape(points[0].mutant)}</text>']
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<line class="g" x1="{left}" x2="{right}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    parts += [
        f'<text x="{x(each.users):.1f}" y="{bottom + 16}" text-anchor="middle">{each.users:,}</text>'
        for each in (points[0], points[len(points) // 2], points[-1])
    ]
    for colour, dash, shares in ((PASSED, "5 4", [p.passed for p in points]), (HELD, "", [p.held for p in points])):
        line = " ".join(f"{x(p.users):.1f},{y(share):.1f}" for p, share in zip(points, shares, strict=True))
        parts.append(f'<polyline class="l" stroke="{colour}" stroke-dasharray="{dash}" points="{line}"/>')
    return "\n".join(parts)
