"""The README's numbers are those of docs/results.json, and both can be made again."""

from __future__ import annotations

import re

import msgspec
import pytest

from shadow.publication import BEGIN, END, OFFLINE, README, RESULTS, results_of, tables, with_tables

VERSION = re.compile(r"(?:champion|challenger):[0-9a-f]{12}")


def test_the_readmes_tables_are_those_of_the_published_results() -> None:
    readme = README.read_text()
    assert with_tables(readme, msgspec.json.decode(RESULTS.read_bytes())) == readme


def test_the_registrys_example_names_the_versions_that_the_demo_made() -> None:
    """Which they are depends on libraries and machine, so they are not made here: both documents tell of one."""
    told = {path: set(VERSION.findall(path.read_text())) for path in (README, README.parent / "docs" / "registry.md")}
    demo, registry = told.values()
    assert len(demo) == 2
    assert registry == demo


def test_every_published_request_was_answered_and_every_copy_accounted() -> None:
    results = msgspec.json.decode(RESULTS.read_bytes())
    for run in results["runs"].values():
        assert run["answered"] == run["requests"]
        assert all(sum(outcomes.values()) == run["requests"] for outcomes in run["outcomes"].values())


def test_a_number_is_rounded_once() -> None:
    """0.27149 is 27.1 %; by way of 0.2715 it would be 27.2 %, and the demo's own table says 27.1 %."""
    results = msgspec.json.decode(RESULTS.read_bytes())
    report = {"verdict": "PASS", "window": {"users": 0}, "metrics": [], "noise": {"compared": 0, "identical": 0}}
    run = {
        "report": report | {"sources": [], "source_changes": []},
        "replay": {"requests": 0, "answered": 0, "latency_ms": {}},
        "counters": {"arms": {}},
    }
    warm = {"users": 10} | dict.fromkeys(OFFLINE, 0.1)
    model = {"name": "champion", "warm": warm, "lift": {"relative": 0.2, "lower": 0.1, "upper": 0.2714899018661405}}
    summary = {"evaluation": {"data_hash": "", "baseline": "popular", "models": [model]}, "demo": run, "demo-self": run}
    results["offline"] = results_of(summary, 1, 1)["offline"]
    assert "| +20.0% [+10.0%, +27.1%] |" in tables(results)


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marker"):
        with_tables(f"no begin {END}", {})
    with pytest.raises(ValueError, match="lacks the marker"):
        with_tables(f"{BEGIN} no end", {})


def test_a_changed_number_changes_the_tables() -> None:
    results = msgspec.json.decode(RESULTS.read_bytes())
    before = tables(results)
    results["offline"]["champion"]["map_at_10"] += 0.002
    assert tables(results) != before
