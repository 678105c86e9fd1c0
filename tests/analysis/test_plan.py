from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from analysis.plan import PlanError, parse_plan, plan_hash

PLAN = {
    "schema_version": 1,
    "name": "test",
    "block_hours": 6,
    "deadline_ms": 2000,
    "metrics": [
        {
            "name": "errors",
            "role": "guardrail",
            "comparison": "shadow - control",
            "unit": "rate",
            "margin": 0.01,
            "reason": "one in a hundred",
        },
        {"name": "overlap_at_10", "role": "descriptive", "comparison": "shadow with primary", "unit": "share"},
    ],
}


def text(**changes: object) -> bytes:
    return yaml.safe_dump(PLAN | changes).encode()


def guardrail(**changes: object) -> bytes:
    return text(metrics=[PLAN["metrics"][0] | changes])


def test_defaults_are_those_of_the_design():
    plan = parse_plan(text())
    assert (plan.alpha, plan.power, plan.floors.users, plan.floors.blocks) == (0.05, 0.8, 200, 20)
    assert (plan.fractions.shadow, plan.guardrails, plan.block_us) == (1.0, 1, 6 * 3_600_000_000)


def test_the_committed_plan_is_valid_and_gives_a_reason_for_every_margin():
    document = (Path(__file__).parents[2] / "plans" / "movielens-demo.yaml").read_bytes()
    plan = parse_plan(document)
    assert {metric.name for metric in plan.metrics if metric.role == "guardrail"} == {
        "long_tail_share",
        "empty_lists",
        "errors",
        "latency_p95",
    }


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"- a list", "not a YAML mapping"),
        (b"a: [", "no YAML"),
        (b"\xff\xfe\x00", "no YAML"),
        (b"name: a\nname: b\n", "stands twice"),
        (text(surprise=1), "surprise"),
        (text(schema_version=2), "schema_version"),
        (text(metrics=[]), "at least one guardrail"),
        (text(metrics=[PLAN["metrics"][1]]), "at least one guardrail"),
        (text(metrics=[PLAN["metrics"][0]] * 2), "named twice: errors"),
        (text(alpha=0.6), "alpha"),
        (text(alpha=float("nan")), "alpha"),
        (text(alpha=1e-300), "alpha"),
        (text(block_hours=1e13), "block_hours"),
        (text(adapter="labels"), "unknown adapter"),
        (text(fractions={"shadow": 0}), "fractions.shadow"),
        (guardrail(name="ctr"), "unknown metric 'ctr'"),
        (guardrail(reason="  "), "needs a reason"),
        (guardrail(margin=None), "needs a margin"),
        (guardrail(margin=-0.1), "margin"),
        (guardrail(comparison="shadow - primary"), "defined as 'shadow - control'"),
        (guardrail(unit="ms"), "measured in rate"),
        (guardrail(role="descriptive"), "has no margin"),
        (guardrail(name="overlap_at_10", comparison="shadow with primary", unit="share"), "no harmful direction"),
        (
            guardrail(name="novelty", comparison="shadow - primary", unit="bits"),
            "novelty tells the same as long_tail_share, and one metric of the tail is gated: make it descriptive",
        ),
    ],
)
def test_a_wrong_plan_is_refused_by_the_name_of_what_is_wrong(document, said):
    with pytest.raises(PlanError, match=said.replace("(", r"\(")):
        parse_plan(document)


def test_the_hash_is_that_of_sha256sum():
    assert plan_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (text(alhpa=0.1), "alhpa: there is no such field (did you mean 'alpha'?)"),
        (text(floors={"user": 300}), "floors.user: there is no such field (did you mean 'users'?)"),
        (guardrail(margins=0.1), "metrics.0.margins: there is no such field (did you mean 'margin'?)"),
        (guardrail(name="latency_95"), "unknown metric 'latency_95' (did you mean 'latency_p95'?)"),
        (text(qqqqq=1), "qqqqq: there is no such field"),
    ],
)
def test_an_unknown_name_is_told_with_the_one_it_is_most_like(document, said):
    with pytest.raises(PlanError) as raised:
        parse_plan(document)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([5.0, 100.0], "tenth"),
        ([50.0, 50.0], "ascend"),
        ([60.0, 50.0], "ascend"),
        ([-1.0, 5.0], "looks"),
        ([float(number) for number in range(3, 24)], "at most 20"),
    ],
)
def test_looks_that_cannot_be_planned_are_refused(looks, said):
    with pytest.raises(PlanError, match=said):
        parse_plan(text(looks=looks))


def test_a_plan_may_name_its_looks_shortest_time_catalogue_and_versions():
    plan = parse_plan(text(looks=[24, 48], minimum_hours=24, catalogue="a" * 64, bundles={"primary": "champion:1"}))
    assert (plan.looks, plan.minimum_hours, plan.catalogue, plan.unit) == ((24.0, 48.0), 24.0, "a" * 64, "user")
    with pytest.raises(PlanError, match="catalogue"):
        parse_plan(text(catalogue="abc"))
    with pytest.raises(PlanError, match="bundles"):
        parse_plan(text(bundles={"shadwo": "x"}))
