"""The rule by which the bench chooses weights, on rows whose numbers can be checked by hand."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bentos.ranking_settings import RankingSettings
from tests.bench.ranking_pareto import choose, combinations, front, single
from tests.bench.ranking_plot import Point, draw
from tests.bench.ranking_stage import Row


def row(precision: float, coverage: float, diversity: float = 0.0) -> Row:
    """Two hundred users, each with the same AP@10."""
    precisions = np.full(200, precision)
    settings = RankingSettings(diversity=diversity)
    return Row(settings, np.arange(200), precisions, 0.0, coverage, coverage, coverage, 0.0, 0.0, 0.0)


BASE = row(0.100, 0.09)


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([], None),
        ([row(0.0985, 0.149)], None),  # shows too little
        ([row(0.0975, 0.2)], None),  # loses too much
        ([row(0.0985, 0.151)], 1),
        ([row(0.0981, 0.3), row(0.0985, 0.151), row(0.11, 0.1)], 2),
    ],
)
def test_the_best_map_within_the_loss_and_above_the_coverage_is_chosen(rows: list[Row], chosen: int | None) -> None:
    every = [BASE, *rows]
    assert choose(every) is (None if chosen is None else every[chosen])


def test_a_change_is_relative_and_its_interval_is_by_user() -> None:
    better = Row(RankingSettings(), np.repeat(np.arange(100), 2), np.tile([0.09, 0.13], 100), 0, 0, 0, 0, 0, 0, 0)
    change, half = better.change(BASE)
    assert change == pytest.approx(0.1)
    # Every user's two origins are off by as much in opposite directions: nothing is left to be unsure of.
    assert half == pytest.approx(0, abs=1e-9)
    assert better.surely(BASE) == pytest.approx(0.1)


def test_the_front_has_nothing_that_another_beats_in_both() -> None:
    rows = [row(0.10, 0.1), row(0.09, 0.2), row(0.085, 0.15), row(0.12, 0.05), row(0.09, 0.1)]
    assert [each.coverage for each in front(rows)] == [0.05, 0.1, 0.2]
    assert front(rows)[1] is rows[0]


def test_the_grid_begins_with_relevance_alone_and_has_each_objective_alone() -> None:
    grid = combinations()
    assert grid[0] == RankingSettings()
    assert len(set(grid)) == len(grid)
    alone = [each for each in grid if single(Row(each, *[np.zeros(1)] * 2, *[0.0] * 7))]
    assert any(each.diversity for each in alone)
    assert any(each.recency for each in alone)
    assert any(each.tail_slot for each in alone)


def test_the_figure_is_the_same_svg_again(tmp_path: Path) -> None:
    settings = (RankingSettings(), RankingSettings(tail_slot=10))
    points = [Point(0.1, 0.0, 0.01, settings[0], True), Point(0.2, -0.01, 0.01, settings[1], True)]
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in files:
        draw(path, points, points[1].settings, 1_000, 0.02, 0.15)
    one, two = (path.read_bytes() for path in files)
    assert one == two
    assert "chosen" in "".join(ElementTree.fromstring(one).itertext())
