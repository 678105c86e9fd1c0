"""What tea-tasting says of seeded experiments, kept for who has no tea-tasting: `make update-tea-values`,
`make verify-tea-values`.

Runs in an environment of its own. `update` writes tests/analysis/tea_values.json: users of two groups with their
requests and clicks, and tea-tasting's mean and ratio of means (delta method, Welch's t, no covariate) to the last
digit; under `ab` what an A/B test says besides: z, CUPED, the sample ratio, Holm and Benjamini–Hochberg. `verify`
computes them again and compares. CI compares the fixture with `analysis.estimates` and `analysis.ab` and needs no
tea-tasting.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tea_tasting as tt

FIXTURE = Path(__file__).parents[2] / "analysis" / "tea_values.json"
COMMAND = "make update-tea-values"
CONFIDENCE = 0.9
FIELDS = (
    "control",
    "treatment",
    "effect_size",
    "effect_size_ci_lower",
    "effect_size_ci_upper",
    "rel_effect_size_ci_lower",
    "rel_effect_size_ci_upper",
    "statistic",
    "pvalue",
)
Case = dict[str, Any]
"""Per user: `group` (0 control, 1 treatment), `requests`, `clicks`; `name` for a person."""


def cases() -> list[Case]:
    """Groups of equal and of unequal size, light and heavy tails, few users and more."""
    found = []
    for seed, (users, share, tail) in enumerate([(30, 0.5, 5.0), (60, 0.5, 1.5), (90, 0.2, 2.0), (120, 0.6, 1.2)]):
        rng = np.random.default_rng(seed)
        requests = 1 + np.minimum(rng.pareto(tail, users) * 3, 60).astype(int)
        clicks = rng.binomial(requests, rng.beta(2, 5, users))
        group = (rng.random(users) < share).astype(int)
        before = rng.binomial(requests, rng.beta(2, 5, users)) + clicks
        found.append(
            {
                "name": f"{users} users, {share:.0%} in treatment, Pareto {tail}",
                "group": group.tolist(),
                "requests": requests.tolist(),
                "clicks": clicks.tolist(),
                "before": before.tolist(),
            }
        )
    return found


def analysed(case: Case) -> dict[str, dict[str, float]]:
    """tea-tasting's numbers of one experiment."""
    table = pa.table({name: case[name] for name in ("group", "requests", "clicks")})
    settings = {"confidence_level": CONFIDENCE, "use_t": True, "equal_var": False}
    metrics = {
        "mean": tt.Mean("requests", **settings),
        "ratio": tt.RatioOfMeans("clicks", "requests", **settings),
    }
    found = tt.Experiment(metrics, variant="group").analyze(table)
    return {name: {field: float(getattr(found[name], field)) for field in FIELDS} for name in metrics}


def experiment(case: Case) -> dict[str, Any]:
    """tea-tasting's numbers of the same experiment as an A/B test: covariate `before`, no continuity correction."""
    table = pa.table({name: case[name] for name in ("group", "requests", "clicks", "before")})
    settings = {"confidence_level": CONFIDENCE, "equal_var": False}
    metrics = {
        "welch": tt.Mean("clicks", use_t=True, **settings),
        "z": tt.Mean("clicks", use_t=False, **settings),
        "ratio": tt.RatioOfMeans("clicks", "requests", use_t=True, **settings),
        "cuped": tt.Mean("clicks", covariate="before", use_t=True, **settings),
        "cuped_z": tt.Mean("clicks", covariate="before", use_t=False, **settings),
    }
    sizes = {"sample_ratio": tt.SampleRatio(method="norm", correction=False)}
    found = tt.Experiment(metrics | sizes, variant="group").analyze(table)
    fields = [field for field in FIELDS if "rel_" not in field]
    several = {("all",): tt.Experiment(metrics, variant="group").analyze(table)}
    adjusted = {
        "holm": tt.adjust_fwer(several, method="bonferroni", arbitrary_dependence=True),
        "benjamini_hochberg": tt.adjust_fdr(several, arbitrary_dependence=False),
    }
    said = {name: {field: float(getattr(found[name], field)) for field in fields} for name in metrics}
    p_values = {
        name: {row["metric"]: float(row["pvalue_adj"]) for row in each.to_dicts()} for name, each in adjusted.items()
    }
    return said | {"sample_ratio": float(found["sample_ratio"].pvalue), "adjusted": p_values}


def document() -> dict[str, Any]:
    """The fixture."""
    made = {"tea-tasting": version("tea-tasting"), "numpy": version("numpy"), "command": COMMAND}
    return {
        "made_by": made,
        "confidence": CONFIDENCE,
        "cases": [case | {"found": analysed(case), "ab": experiment(case)} for case in cases()],
    }


def main(arguments: list[str]) -> int:
    """Update or verify."""
    if arguments == ["update"]:
        found = document()
        rows = ",\n".join(json.dumps(case) for case in found["cases"])
        head = f'{{"made_by": {json.dumps(found["made_by"])},\n"confidence": {CONFIDENCE},\n'
        FIXTURE.write_text(f'{head}"cases": [\n{rows}\n]}}\n')
        return 0
    if arguments == ["verify"]:
        same = json.loads(FIXTURE.read_bytes())["cases"] == document()["cases"]
        print(f"{FIXTURE.name}: {'as tea-tasting says' if same else f'differs from tea-tasting: {COMMAND}'}")
        return 0 if same else 1
    print("one of: update, verify", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
