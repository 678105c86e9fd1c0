"""The file of a bench's cells."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tests.bench.router_results import Results


def test_a_cell_is_in_the_file_at_once_and_kept_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cells.json"
    Results(path).measured("cpu/on/nginx/1", lambda: {"us": 70})
    kept = Results(path, keep=True).measured("cpu/on/nginx/1", lambda: {"us": 80})
    assert kept["us"] == 70
    anew = Results(path).measured("cpu/on/nginx/1", lambda: {"us": 80})
    assert anew["us"] == 80
    assert Results(path).rounds("cpu/on/nginx")[0]["us"] == 80


def test_a_measurement_that_fails_loses_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    results = Results(path)
    results.measured("a/1", lambda: {"us": 1})

    def fails() -> dict[str, int]:
        raise RuntimeError("the router ended")

    with pytest.raises(RuntimeError):
        results.measured("a/2", fails)
    assert [cell["us"] for cell in Results(path).rounds("a")] == [1]


def test_rounds_are_in_order_and_only_those_of_the_name(tmp_path: Path) -> None:
    results = Results(tmp_path / "cells.json")
    for number in (10, 2, 1):
        results.measured(f"cpu/on/nginx/{number}", lambda number=number: {"round": number})
    results.measured("cpu/on/nginx-2/1", lambda: {"round": 0})
    assert [cell["round"] for cell in results.rounds("cpu/on/nginx")] == [1, 2, 10]


def test_forgetting_drops_one_measurement_unless_cells_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "cells.json"
    results = Results(path)
    results.measured("cpu/a/1", dict)
    results.measured("latency/a/1", dict)
    kept = Results(path, keep=True)
    kept.forget("cpu/")
    assert kept.get("cpu/a/1") is not None
    results.forget("cpu/")
    assert results.get("cpu/a/1") is None
    assert results.get("latency/a/1") is not None
    assert "1 cells at " in results.origin("latency/")
    assert f", Python {platform.python_version()}; answers" in results.origin("latency/")


def test_cells_that_others_disturbed_are_named(tmp_path: Path) -> None:
    results = Results(tmp_path / "cells.json")
    results.measured("cpu/quiet/1", lambda: {"others": 0.01})
    results.measured("cpu/loud/1", lambda: {"others": 0.4})
    assert "at most 40.0%; more than 5% in 1 cells: cpu/loud/1." in results.origin("cpu/")
