"""Playing requests through a set and judging what was logged: shared by the tests of the serve path."""

from __future__ import annotations

import json
from pathlib import Path

from shadow.rehearsal import HOST, Rehearsal

PLAN = Path(__file__).parent / "small_plan.yaml"
PACE = ("--seconds", "5", "--max-rps", "80", "--limit", "300")


def play(rehearsal: Rehearsal, tags: dict[str, str], experiment: str) -> tuple[dict, dict]:
    """One replay through a fresh router; its result and the outcomes by arm, once the four witnesses agree."""
    rehearsal.start_router(experiment, tags)
    result = rehearsal.directory / f"{experiment}.json"
    target = f"http://{HOST}:{rehearsal.ports.router}"
    requests = rehearsal.directory / "requests.jsonl"
    rehearsal.run("replay", "--requests", requests, "--to", target, "--json-out", result, *PACE)
    replayed = json.loads(result.read_text())
    counts, metrics = rehearsal.counts(), rehearsal.metrics()
    rehearsal.close_log()
    assert rehearsal.accounts(experiment, replayed["requests"], counts, metrics) == []
    outcomes = {name: {key: n for key, n in arm.outcomes.items() if n} for name, arm in counts.arms.items()}
    return replayed, outcomes


def gate(rehearsal: Rehearsal, experiment: str) -> dict:
    out = rehearsal.directory / f"report-{experiment}"
    catalogue = rehearsal.directory / "bundles" / "champion" / "catalogue.parquet"
    where = ("--experiment", experiment, "--out", out)
    rehearsal.run("gate", rehearsal.pairs, "--plan", PLAN, "--catalogue", catalogue, *where, accept=(0, 1, 3))
    assert {path.name for path in out.iterdir()} >= {"report.json", "report.md", "report.html"}
    return json.loads((out / "report.json").read_text())
