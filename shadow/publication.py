"""The numbers of one run of the demo in the repository: docs/results.json, and the README's tables made from it.

`understudy demo --publish` writes both; a test makes the tables again from the file and compares (update and verify
under one noun). Next module: none; the README is for people.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import msgspec

CHECKOUT: Final = Path(__file__).parent.parent
RESULTS: Final = CHECKOUT / "docs" / "results.json"
README: Final = CHECKOUT / "README.md"
BEGIN: Final = "<!-- results: made by `understudy demo --publish` from docs/results.json -->"
END: Final = "<!-- end of results -->"
GOAL: Final = 0.20
"""The lift in MAP@10 that was hoped for (research note §7)."""
OFFLINE: Final = ("map_at_10", "ndcg_at_10", "recall_at_20", "coverage_at_10", "long_tail_share_at_10")


def results_of(summary: dict[str, Any], seconds: float, cores: int) -> dict[str, Any]:
    """What is published of a run's summary."""
    evaluation = summary["evaluation"]
    return {
        "schema_version": 1,
        "commit": _commit(),
        "data_hash": evaluation["data_hash"],
        "seconds": round(seconds),
        "cores": cores,
        "baseline": evaluation["baseline"],
        "offline": {model["name"]: _offline(model) for model in evaluation["models"]},
        "runs": {name: _run(summary[name]) for name in ("demo", "demo-self")},
    }


def _offline(model: dict[str, Any]) -> dict[str, Any]:
    numbers = {key: round(model["warm"][key], 4) for key in OFFLINE}
    gained = model["lift"]
    # As it is: the table shows it in percent, and what is rounded twice can end up beside what is rounded once.
    lift = {key: gained[key] for key in ("relative", "lower", "upper")} if gained else None
    return numbers | {"users": model["warm"]["users"], "lift": lift}


def _run(run: dict[str, Any]) -> dict[str, Any]:
    report, replay = run["report"], run["replay"]
    keys = ("name", "decision", "unit", "estimate", "lower", "upper", "margin")
    return {
        "verdict": report["verdict"],
        "requests": replay["requests"],
        "answered": replay["answered"],
        "latency_ms": replay["latency_ms"],
        "outcomes": {
            arm: {key: number for key, number in counts["outcomes"].items() if number}
            for arm, counts in run["counters"]["arms"].items()
        },
        "users": report["window"]["users"],
        "metrics": [{key: metric[key] for key in keys} for metric in report["metrics"]],
        "noise": {key: report["noise"][key] for key in ("compared", "identical")},
        "sources": report["sources"],
        "source_changes": report["source_changes"],
    }


def tables(results: dict[str, Any]) -> str:
    """The README's block, without its markers."""
    return "\n".join(
        [*_offline_table(results), "", *_verdict_table(results), "", *_source_table(results), "", _origin(results)]
    )


def _offline_table(results: dict[str, Any]) -> list[str]:
    lines = [
        "| model (test period, warm users) | MAP@10 | nDCG@10 | recall@20 | coverage@10 | long tail@10 "
        "| lift in MAP@10, 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results["offline"].items():
        numbers = " | ".join(f"{row[key]:.4f}" for key in OFFLINE)
        lift = row["lift"]
        told = f"{lift['relative']:+.1%} [{lift['lower']:+.1%}, {lift['upper']:+.1%}]" if lift else ""
        lines.append(f"| {name} | {numbers} | {told} |")
    return lines


def _verdict_table(results: dict[str, Any]) -> list[str]:
    runs = results["runs"]
    titles = {"demo": "challenger", "demo-self": "champion against itself"}
    heads = " | ".join(f"{titles[name]}: **{run['verdict']}**" for name, run in runs.items())
    lines = [f"| in the shadow | {heads} | margin |", "|---|---|---|---|"]
    for first, second in zip(runs["demo"]["metrics"], runs["demo-self"]["metrics"], strict=True):
        margin = "–" if first["margin"] is None else _number(first["margin"], first["unit"])
        lines.append(f"| {first['name']} | {_cell(first)} | {_cell(second)} | {margin} |")
    return lines


def _source_table(results: dict[str, Any]) -> list[str]:
    lines = [
        "| answered by (primary → challenger) | requests | users | difference in long-tail share | part of the whole |",
        "|---|---|---|---|---|",
    ]
    for row in results["runs"]["demo"]["source_changes"]:
        named = f"{row['primary_source']} → {row['shadow_source']}"
        numbers = (
            f"{row['requests']:,} | {row['users']:,} | {row['long_tail_difference']:.4f} | {row['contribution']:.4f}"
        )
        lines.append(f"| {named} | {numbers} |")
    return lines


def _cell(metric: dict[str, Any]) -> str:
    if metric["estimate"] is None:
        return str(metric["decision"])
    limits = [_number(metric[key], metric["unit"]) if metric[key] is not None else "?" for key in ("lower", "upper")]
    return f"{_number(metric['estimate'], metric['unit'])} [{limits[0]}, {limits[1]}] {metric['decision']}"


def _number(value: float, unit: str) -> str:
    return f"{value:.2f} ms" if unit == "ms" else f"{value:.4f}"


def _origin(results: dict[str, Any]) -> str:
    run = results["runs"]["demo"]
    first = run["metrics"][0]
    lift = results["offline"]["champion"]["lift"]["relative"]
    return (
        f"The smallest margin of {first['name']} that the challenger's log would pass is {-first['lower']:.4f}; the "
        f"plan's is {first['margin']:.4f}. Lift is over {results['baseline']}, the best of the popularity family; the "
        f"goal was {GOAL:.0%}: {'reached' if lift >= GOAL else 'missed'} by the champion. "
        f"{run['requests']:,} requests of {run['users']:,} users, every one answered and paired with both arms; commit "
        f"`{results['commit']}`, data `{results['data_hash']}`, {results['seconds']} s on {results['cores']} cores."
    )


def publish(results: dict[str, Any]) -> None:
    """Write docs/results.json and the README's block."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    README.write_text(with_tables(README.read_text(), results))


def with_tables(readme: str, results: dict[str, Any]) -> str:
    """`readme` with the block between the markers made anew. `ValueError` when a marker is missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README lacks the marker {BEGIN!r} or {END!r}")
    return f"{before}{BEGIN}\n{tables(results)}\n{END}{after}"


def _commit() -> str:
    """The commit of the checkout, with "+" when it was changed; "unknown" without git."""
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*arguments: str) -> str:
    git = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
