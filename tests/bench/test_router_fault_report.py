"""What the tables of the faults say of made-up cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.router_blackout import blackout_report
from tests.bench.router_fault_report import bounds_mb, fault_report
from tests.bench.router_results import Results


def half(p99: float, sent: int = 1_000, **errors: int) -> dict[str, Any]:
    latency = {"p50": p99 / 4, "p99": p99}
    return {"sent": sent, "answered": sent - sum(errors.values()), "errors": errors, "latency_ms": latency}


PLACES = ("missing", "nowhere", "in_flight", "records_lost")


def cell(
    calm: float, ill: float, peak: float = 40.0, account: dict[str, Any] | None = None, **errors: int
) -> dict[str, Any]:
    accounts = {"sent": 2_000, "outcomes": {"paired": 2_000}} | dict.fromkeys(PLACES, 0)
    return {
        "calm": half(calm),
        "ill": half(ill, **errors),
        "base_mb": {"router": 30.0},
        "peak_mb": {"router": peak},
        "us": 50.0,
        "rate": 100.0,
        "shadow": {"requests": 7, "connections": 3},
        "accounts": accounts | (account or {}),
    }


def report(tmp_path: Path, **cells: dict[str, Any]) -> str:
    results = Results(tmp_path / "cells.json")
    for name, each in cells.items():
        results.measured(f"faults/{name.replace('_', '-')}/router/1", lambda each=each: each)
    return fault_report(results)


def test_all_is_met_when_the_fault_changes_nothing(tmp_path: Path) -> None:
    found = report(tmp_path, none=cell(1.0, 1.1), refused=cell(1.0, 1.1), reset=cell(2.0, 2.19))
    assert "Every request answered by the primary: **met**." in found
    assert "in the median of the rounds: **met**." in found
    assert "**missed**" not in found


def test_a_request_without_an_answer_is_named(tmp_path: Path) -> None:
    found = report(tmp_path, none=cell(1, 1), refused=cell(1, 1, timeout=2), reset=cell(1, 1))
    assert "answered by the primary: **missed** (kept in 1 of 2, not: refuses connections)." in found
    assert "2 timeout" in found
    assert "998" in found


def test_a_slower_fault_is_named_and_held_against_the_band(tmp_path: Path) -> None:
    found = report(tmp_path, none=cell(1.0, 1.5), refused=cell(1.0, 1.2), reset=cell(1.0, 1.6))
    assert "(kept in 0 of 2, not: resets in the middle of its answer, refuses connections)" in found
    assert "0.50 ms; beyond it as well: resets in the middle of its answer." in found


def test_memory_beyond_the_bounds_is_named(tmp_path: Path) -> None:
    limit = 1.2 * bounds_mb()
    assert "**missed**" not in report(tmp_path, refused=cell(1, 1, peak=30 + limit - 0.1))
    found = report(tmp_path, refused=cell(1, 1, peak=30 + limit + 0.1))
    assert "**missed** (kept in 0 of 1, not: refuses connections)" in found


@pytest.mark.parametrize("place", ["missing", "nowhere", "records_lost"])
def test_counters_that_do_not_add_up_are_told(tmp_path: Path, place: str) -> None:
    assert "**no**" not in report(tmp_path, refused=cell(1, 1, account={"in_flight": 5}))
    assert "**no**" in report(tmp_path, refused=cell(1, 1, account={place: 1}))


def test_what_was_not_measured_is_told(tmp_path: Path) -> None:
    results = Results(tmp_path / "cells.json")
    assert "Not measured." in fault_report(results)
    assert "Not measured." in blackout_report(results)


@pytest.mark.parametrize(("grows", "verdict"), [(0.0, "met"), (0.5, "missed")])
def test_the_slope_of_a_blackout_is_that_of_its_second_half(tmp_path: Path, grows: float, verdict: str) -> None:
    def sample(number: int) -> list[Any]:
        filling = 30.0 + min(number, 50)  # the queue fills in the first half: no slope of ours
        jitter = (number * 7 % 5) / 10
        return [number * 2.0, {"router": filling + jitter + grows * number, "shipper": 20.0}, 1_000_000]

    whole = cell(1, 1, peak=100.0)
    whole |= {"seconds": 400.0, "samples": [sample(number) for number in range(200)]}
    whole["base_mb"]["shipper"] = whole["peak_mb"]["shipper"] = 20.0
    results = Results(tmp_path / "cells.json")
    results.measured("blackout/router/1", lambda: whole)
    found = blackout_report(results)
    assert f"The router's slope is zero within its interval, or falls: **{verdict}**." in found
    assert "1,000 of 1,000 answered" in found
    assert f"= {30 + 1.2 * bounds_mb():.1f} MB: **met**" in found
