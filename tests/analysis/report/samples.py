"""Results to render: one of each verdict, made by the gate itself from simulated logs."""

from __future__ import annotations

from functools import cache

from analysis.judging import judge_log, not_judged
from analysis.report.result import BundleSummary, Result
from tests.analysis.pair_logs import World, answer, record, simulated
from tests.analysis.test_judging import inputs

BUNDLE = BundleSummary(arm="primary", name="champion", version="aaaaaaaaaaaa", sha256="a" * 64)


@cache
def results() -> dict[str, Result]:
    """By name: `pass`, `hold`, `few`, `censored`, `noisy`, `error`, `hostile` (texts with markup in them)."""
    hostile = [record(5, outcome="dropped:<i>|x\n", unit="<b>|`*")]
    hostile += [record(0, unit="<b>|`*", primary=answer(source="<script>alert(1)</script>|x"))]
    hostile += [record(1, request_id="r0", unit="<b>|`*", arm="control", arm_answer=answer(source="a|b\nc"))]
    noisy = [*simulated(World(users=300)), record(999_999, arm="control", arm_answer=answer(["i200"], "hybrid"))]
    return {
        "pass": judge_log(simulated(World(users=1200)), inputs(bundles=(BUNDLE,))),
        "hold": judge_log(simulated(World(users=1200, fallback=0.3, shadow_errors=0.01, slower=1.4)), inputs()),
        "few": judge_log(simulated(World(users=50)), inputs()),
        "censored": judge_log(simulated(World(users=600, shadow_errors=0.2)), inputs()),
        "noisy": judge_log(noisy, inputs()),
        "error": not_judged(inputs(), "demo", "nothing there"),
        "hostile": judge_log(hostile, inputs()),
    }


NAMES = ("pass", "hold", "few", "censored", "noisy", "error", "hostile")
