"""What the serving bench makes of its rounds, and that a run without options leaves nothing out."""

from __future__ import annotations

from tests.bench.serving import counts, parser
from tests.bench.serving_stage import Figures, middle


def figures(p50: float, p99: float, server_us: float, refused: int) -> Figures:
    statuses = {"200": 10 - refused, "429": refused}
    return Figures(
        500, 10, statuses, {"p50": p50, "p95": 5.0, "p99": p99}, server_us, 50.0, {"hybrid": 8, "popular": 2}
    )


def test_each_column_has_its_own_median_and_counts_are_of_all_rounds() -> None:
    # No round is the middle one of every column.
    found = middle([figures(1.0, 90.0, 700.0, 0), figures(2.0, 10.0, 900.0, 1), figures(3.0, 20.0, 650.0, 0)])
    assert found.latency_ms == {"p50": 2.0, "p95": 5.0, "p99": 20.0}
    assert (found.server_us, found.redis_us) == (700.0, 50.0)
    assert (found.requests, found.statuses, found.lists) == (30, {"200": 29, "429": 1}, {"hybrid": 24, "popular": 6})
    assert found.row() == "500 | 1 × 429 of 30 | 2.0 | 5.0 | 20.0 | 700 | 50 | 80.0% |"


def test_without_options_the_millions_are_measured_too() -> None:
    assert parser().parse_args([]).synthetic
    assert not parser().parse_args(["--no-synthetic"]).synthetic


def test_counts_are_told_by_name() -> None:
    assert counts({"timeout": 1_200, "corrupt": 3}) == "corrupt 3, timeout 1,200"
    assert counts({}) == "none"
