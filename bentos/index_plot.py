"""Recall against the time of a search, one curve per kind of index, as SVG drawn from the measurements alone.

Both axes are logarithmic: time from left to right, and what is missing to a recall of 1 from top to bottom, so that .99
and .999 are as far apart as .9 and .99. Next module: `bentos.index_record`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from bentos.index_report import CHOSEN
from bentos.index_timing import Measurements

WIDTH: Final = 760
HEIGHT: Final = 420
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 44, 52
MOST: Final = 0.9999
"""A recall above is drawn here, at the line that says 1."""
RECALLS: Final = (0.5, 0.8, 0.9, 0.98, 0.99, 0.995, 0.999, MOST)
LOOKS: Final = {
    "Flat": ("#222222", "M-5 -5 h10 v10 h-10 z"),
    "SQ8": ("#777777", "M0 -6.5 l6.5 6.5 l-6.5 6.5 l-6.5 -6.5 z"),
    "IVF-ranged": ("#0072b2", "M-5.5 0 a5.5 5.5 0 1 0 11 0 a5.5 5.5 0 1 0 -11 0"),
    "IVF-L2": ("#009e73", "M0 -6.5 l6.5 11.5 h-13 z"),
    "IVF-IP": ("#d55e00", "M-6.5 -5.5 h13 l-6.5 11.5 z"),
    "HNSW-IP": ("#8a5a9e", "M-6 -2 h4 v-4 h4 v4 h4 v4 h-4 v4 h-4 v-4 h-4 z"),
}
"""Colour and mark of each kind, so that colour is never needed alone."""
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.dim{fill:#555}.title{font-weight:600;font-size:14px}"
    ".grid{stroke:#ddd}.target{stroke:#222;stroke-dasharray:5 4}.curve{fill:none;stroke-width:1.6}.end{text-anchor:end}"
    ".mid{text-anchor:middle}"
)


class Mark(NamedTuple):
    """A point in the picture: the kind, milliseconds, recall, and whether it is the candidate itself."""

    kind: str
    time: float
    recall: float
    candidate: bool


def plot(measurements: Measurements) -> str:
    """The picture; "" when nothing was timed."""
    marks = [Mark(each.kind, each.p50_ms, each.recall, False) for each in measurements.points]
    for timed in measurements.candidates:
        found = timed.candidate
        marks.append(Mark(found.index.name, timed.times.p50_ms, found.reporting.recall, True))
    if not marks:
        return ""
    axes = _Axes.around(marks)
    chosen = next(each.candidate.index.name for each in measurements.candidates if each.candidate.outcome == CHOSEN)
    parts = [axes.grid(), axes.target(measurements.target)]
    parts += [axes.curve([each for each in marks if each.kind == kind]) for kind in LOOKS]
    parts += [axes.mark(each, each.candidate and each.kind == chosen) for each in marks]
    present = [kind for kind in LOOKS if any(each.kind == kind for each in marks)]
    parts += [_legend(kind, number, kind == chosen) for number, kind in enumerate(present)]
    title = f"recall@10 and time of one search: {measurements.items:,} items, {measurements.dimension} dimensions"
    return _svg(title, "".join(parts))


class _Axes(NamedTuple):
    """log10 of the least and most time, and of what is missing to 1 at the bottom."""

    fastest: float
    slowest: float
    worst: float

    @staticmethod
    def around(marks: Sequence[Mark]) -> _Axes:
        times = [math.log10(max(each.time, 1e-4)) for each in marks]
        worst = min(max(0.5, min(each.recall for each in marks) - 0.02), 0.98)
        return _Axes(min(times) - 0.08, max(times) + 0.08, math.log10(1 - worst))

    def x(self, time: float) -> float:
        share = (math.log10(max(time, 1e-4)) - self.fastest) / (self.slowest - self.fastest)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, recall: float) -> float:
        missing = math.log10(max(1 - recall, 1 - MOST))
        share = min(1.0, (missing - math.log10(1 - MOST)) / (self.worst - math.log10(1 - MOST)))
        return TOP + share * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> str:
        """Lines and their numbers."""
        lines = [
            f'<line x1="{LEFT}" y1="{self.y(each):.1f}" x2="{WIDTH - RIGHT}" y2="{self.y(each):.1f}" class="grid"/>'
            f'<text x="{LEFT - 8}" y="{self.y(each) + 4:.1f}" class="dim end">{1 if each == MOST else each:g}</text>'
            for each in RECALLS
            if math.log10(1 - each) <= self.worst
        ]
        powers = range(math.floor(self.fastest), math.ceil(self.slowest) + 1)
        ticks = [base * 10.0**power for power in powers for base in (1, 2, 5)]
        lines += [
            f'<line x1="{self.x(each):.1f}" y1="{TOP}" x2="{self.x(each):.1f}" y2="{HEIGHT - BOTTOM}" class="grid"/>'
            f'<text x="{self.x(each):.1f}" y="{HEIGHT - BOTTOM + 18}" class="dim mid">{each:g}</text>'
            for each in ticks
            if self.fastest <= math.log10(each) <= self.slowest
        ]
        middle = (LEFT + WIDTH - RIGHT) / 2
        words = (
            f'<text x="{middle:.0f}" y="{HEIGHT - 12}" class="mid">median of a search as served, ms, one thread</text>'
        )
        return "".join(lines) + words

    def target(self, recall: float) -> str:
        """The line that has to be reached, with its name in the margin."""
        y = self.y(recall)
        line = f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="target"/>'
        return f'{line}<text x="{WIDTH - RIGHT + 6}" y="{y + 4:.1f}">target {recall:g}</text>'

    def curve(self, marks: Sequence[Mark]) -> str:
        """The points of one kind, by time."""
        if len(marks) < 2:
            return ""
        ordered = sorted(marks, key=lambda each: (each.time, each.recall))
        points = " ".join(f"{self.x(each.time):.1f},{self.y(each.recall):.1f}" for each in ordered)
        return f'<polyline points="{points}" class="curve" stroke="{LOOKS[marks[0].kind][0]}"/>'

    def mark(self, mark: Mark, chosen: bool) -> str:
        """One point: full for a candidate, hollow for another effort, ringed when it was kept."""
        return _mark(mark.kind, self.x(mark.time), self.y(mark.recall), mark.candidate, chosen)


def _mark(kind: str, x: float, y: float, full: bool, chosen: bool) -> str:
    colour, path = LOOKS[kind]
    fill = colour if full else "#fff"
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="none" stroke="#222" stroke-width="1.5"/>' if chosen else ""
    place = f"translate({x:.1f} {y:.1f}) scale({1 if full else 0.6})"
    return f'{ring}<path d="{path}" transform="{place}" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'


def _legend(kind: str, number: int, chosen: bool) -> str:
    y = TOP + 120 + 26 * number
    words = f"{kind}, kept" if chosen else kind
    return (
        _mark(kind, WIDTH - RIGHT + 22, y, True, chosen) + f'<text x="{WIDTH - RIGHT + 40}" y="{y + 4}">{words}</text>'
    )


def _svg(title: str, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<text x="{LEFT}" y="24" class="title">{escape(title)}</text>{content}</svg>\n'
    )
