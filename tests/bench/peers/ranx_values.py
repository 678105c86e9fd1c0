"""What ranx says of ranked lists, kept for who has no ranx: `make update-ranx-values`, `make verify-ranx-values`.

Runs in the environment of the peers. `update` writes tests/analysis/ranx_values.json: seeded lists, the edge cases
first, with ranx's AP@10, nDCG@10 and recall@20 to the last digit. `verify` computes them again and compares. `score IN
OUT` does the same for the lists of a file, for `tests.bench.training`. CI compares the fixture with `analysis.lists`
and needs no ranx.
"""

from __future__ import annotations

import json
import random
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ranx import Qrels, Run, evaluate

FIXTURE = Path(__file__).parents[2] / "analysis" / "ranx_values.json"
COMMAND = "make update-ranx-values"
METRICS = {"average_precision_at_10": "map@10", "ndcg_at_10": "ndcg@10", "recall_at_20": "recall@20"}
Case = dict[str, Any]
"""`ranked` and `relevant`: lists of item ids; `name` for a person."""


def cases() -> list[Case]:
    """Edge cases, then random lists of every length up to 25 with up to 40 relevant items of 60."""
    items = [f"i{number}" for number in range(60)]
    edges = {
        "one hit at the first place": (items[:10], items[:1]),
        "one hit at the tenth place": (items[:10], items[9:10]),
        "a hit at the eleventh place counts for recall alone": (items[:20], items[10:11]),
        "a hit at the twenty-first place counts for nothing": (items[:25], items[20:21]),
        "no hit": (items[:20], items[30:33]),
        "all hits, fewer relevant than ten": (items[:20], items[:7]),
        "all hits, as many relevant as places": (items[:10], items[:10]),
        "all hits, more relevant than places": (items[:20], items[:40]),
        "an empty list": ([], items[:3]),
        "a list of one, a hit": (items[:1], items[:5]),
        "a list of one, no hit": (items[:1], items[5:9]),
        "a list shorter than ten": (items[:4], items[2:30]),
        "a list between ten and twenty": (items[:13], items[8:40]),
    }
    named = [{"name": name, "ranked": ranked, "relevant": relevant} for name, (ranked, relevant) in edges.items()]
    draw = random.Random(1)
    for number in range(60):
        ranked = draw.sample(items, draw.randint(1, 25))
        named.append(
            {"name": f"random {number}", "ranked": ranked, "relevant": sorted(draw.sample(items, draw.randint(1, 40)))}
        )
    return named


def scored(lists: list[Case]) -> list[dict[str, float]]:
    """ranx's values of every case."""
    names = [f"{number:06d}" for number in range(len(lists))]
    relevant = {name: dict.fromkeys(case["relevant"], 1) for name, case in zip(names, lists, strict=True)}
    # Descending scores without ties: ranx orders by score.
    ranked = {
        name: {item: float(len(case["ranked"]) - place) for place, item in enumerate(case["ranked"])}
        for name, case in zip(names, lists, strict=True)
    }
    found = evaluate(Qrels(relevant), Run(ranked), list(METRICS.values()), return_mean=False)
    return [{ours: float(found[theirs][row]) for ours, theirs in METRICS.items()} for row in range(len(lists))]


def document() -> dict[str, Any]:
    """The fixture."""
    lists = cases()
    made = {"ranx": version("ranx"), "numpy": version("numpy"), "numba": version("numba"), "command": COMMAND}
    values = scored(lists)
    return {"made_by": made, "cases": [case | found for case, found in zip(lists, values, strict=True)]}


def main(arguments: list[str]) -> int:
    """Update, verify or score."""
    if arguments == ["update"]:
        found = document()
        rows = ",\n".join(json.dumps(case) for case in found["cases"])
        FIXTURE.write_text(f'{{"made_by": {json.dumps(found["made_by"])},\n"cases": [\n{rows}\n]}}\n')
        return 0
    if arguments == ["verify"]:
        same = json.loads(FIXTURE.read_bytes())["cases"] == document()["cases"]
        print(f"{FIXTURE.name}: {'as ranx says' if same else f'differs from ranx: {COMMAND}'}")
        return 0 if same else 1
    if len(arguments) == 3 and arguments[0] == "score":
        values = scored(json.loads(Path(arguments[1]).read_bytes()))
        Path(arguments[2]).write_text(json.dumps({"version": version("ranx"), "values": values}))
        return 0
    print("one of: update, verify, score IN OUT", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
