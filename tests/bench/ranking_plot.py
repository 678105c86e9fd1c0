"""The curve of `tests.bench.ranking_pareto` as SVG: coverage against the change in MAP@10, one mark per combination."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

from bentos.ranking_settings import RankingSettings

GROUPS: Final = {
    0: ("o", "#5b6770", "like the others"),
    20: ("v", "#0072b2", "least popular of the first 20"),
    50: ("s", "#009e73", "of 50"),
    75: ("D", "#d55e00", "of 75"),
    100: ("^", "#8a5a9e", "of 100"),
    200: ("P", "#b58900", "of 200"),
}
"""By `tail_from`, 0 for no place: mark and colour, so that colour is never needed alone, and name."""


class Point(NamedTuple):
    """Coverage, relative change in MAP@10 and half of its 95 % interval, the weights that gave them, and whether no
    other point has more of both.
    """

    coverage: float
    change: float
    half: float
    settings: RankingSettings
    best: bool


def draw(
    path: Path, points: Sequence[Point], chosen: RankingSettings | None, lists: int, loss: float, coverage: float
) -> None:
    """Write the figure; the same points give the same bytes."""
    mpl.rcParams.update({"svg.hashsalt": "ranking", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure, axes = plt.subplots(figsize=(8, 4.9), layout="constrained")
    for tail, (mark, colour, name) in GROUPS.items():
        mine = [each for each in points if (each.settings.tail_from if each.settings.tail_slot else 0) == tail]
        x, y = [each.coverage for each in mine], [each.change for each in mine]
        axes.scatter(x, y, s=26, marker=mark, color=colour, alpha=0.75, linewidths=0, label=name, zorder=2)
    best = sorted((each for each in points if each.best), key=lambda each: each.coverage)
    axes.plot([each.coverage for each in best], [each.change for each in best], color="#222222", linewidth=1, zorder=1)
    _aims(axes, loss, coverage)
    offsets = {RankingSettings(): ("relevance\nalone", (11, -24)), chosen: ("chosen, with its 95 % interval", (10, 8))}
    for each in points:
        if each.settings not in offsets:
            continue
        text, offset = offsets[each.settings]
        where = (each.coverage, each.change)
        axes.scatter(*where, s=110, facecolors="none", edgecolors="#111111", linewidths=1.3, zorder=3)
        axes.errorbar(*where, yerr=each.half, color="#111111", linewidth=1, capsize=3, zorder=1)
        axes.annotate(text, where, xytext=offset, textcoords="offset points", fontsize=10, weight="bold")
    axes.set_xlabel(f"coverage@10 of {lists:,} lists")
    axes.set_ylabel("MAP@10 against relevance alone")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(frameon=False, fontsize=9, loc="lower left", title="tenth place of the list", title_fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _aims(axes: plt.Axes, loss: float, coverage: float) -> None:
    """The quarter in which the rule chooses."""
    axes.margins(x=0.06, y=0.06)
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    axes.fill_between([coverage, right], -loss, top, color="#e6efe0", zorder=0, linewidth=0)
    axes.set_xlim(right=right)
    axes.set_ylim(top=top)
    words = f"at most {100 * loss:g} % lost,\nat least {100 * coverage:g} % of the catalogue shown"
    axes.annotate(words, (coverage, top), xytext=(6, -6), textcoords="offset points", va="top", fontsize=9)
