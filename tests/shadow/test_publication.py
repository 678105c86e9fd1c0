"""The README's numbers are those of docs/results.json, and both can be made again."""

from __future__ import annotations

import msgspec
import pytest

from shadow.publication import BEGIN, END, README, RESULTS, tables, with_tables


def test_the_readmes_tables_are_those_of_the_published_results() -> None:
    readme = README.read_text()
    assert with_tables(readme, msgspec.json.decode(RESULTS.read_bytes())) == readme


def test_every_published_request_was_answered_and_every_copy_accounted() -> None:
    results = msgspec.json.decode(RESULTS.read_bytes())
    for run in results["runs"].values():
        assert run["answered"] == run["requests"]
        assert all(sum(outcomes.values()) == run["requests"] for outcomes in run["outcomes"].values())


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
