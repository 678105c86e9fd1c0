from __future__ import annotations

import random
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.adapters import ranked_list
from analysis.judging import Inputs, judge_log, not_judged
from analysis.load import join
from analysis.promises import hours_seen, informed, until_look
from analysis.reading import read_rows
from analysis.report.result import BundleSummary, CatalogueSummary, Result, numbers
from analysis.schedule import due
from analysis.verdict import ERROR, HOLD, INCONCLUSIVE, PASS
from shadow.contracts import ARM_ERROR
from tests.analysis.pair_logs import CATALOGUE, HEAD, ITEMS, START_US, World, answer, record, simulated
from tests.analysis.test_gate import ALL, metric, plan

MARGINS = {"long_tail_share": 0.01, "empty_lists": 0.01, "errors": 0.01, "latency_p95": 5.0, "overlap_at_10": 0.0}
PLAN = plan(*(metric(name, margin=MARGINS[name]) for name in ALL))


def inputs(rules=PLAN, bundles=()) -> Inputs:
    return Inputs(
        rules, "0" * 64, CATALOGUE, CatalogueSummary(sha256="1" * 64, items=ITEMS, tail_items=ITEMS - HEAD), bundles
    )


def judged(world: World, **others) -> Result:
    return judge_log(simulated(world), inputs(**others))


def decisions(result: Result) -> dict[str, str]:
    return {each.name: each.decision for each in result.metrics}


def test_the_champion_behind_itself_passes():
    result = judged(World(users=1200))
    assert result.verdict == PASS
    assert result.noise.identical == result.noise.compared
    assert result.failures.neither == result.window.requests


def test_a_look_knows_how_many_visits_were_there_at_it_and_before():
    # By 10 hours users 0 and 1 came, user 1 in two blocks; by 20 hours three more did.
    hours = ((0, 0), (1, 1), (1, 2), (1, 7), (2, 11), (3, 12), (4, 19.9), (5, 30))
    rows = [
        record(number, request_id=f"r{number}", unit=f"u{user}", event_us=START_US + int(hour * 3.6e9))
        for number, (user, hour) in enumerate(hours)
    ]
    rules = plan(metric("long_tail_share"), looks=[10, 20], block_hours=6)
    triples, tally = join(read_rows(rows, ranked_list, CATALOGUE), CATALOGUE)
    look = due(rules.looks, hours_seen(tally))
    found = informed(look, rules, until_look(triples, tally, look), tally)
    assert (found.number, found.information) == (2, (3.0, 6.0))
    assert found.nominal(0.05) == pytest.approx(look.nominal(0.05))
    late = replace(found, information=(1.0, 60.0))
    assert late.nominal(0.05) < look.nominal(0.05)
    assert informed(None, rules, triples, tally) is None


def test_a_shadow_that_silently_falls_back_is_held_and_the_tables_say_where():
    result = judged(World(users=1200, fallback=0.2))
    assert result.verdict == HOLD
    assert decisions(result)["long_tail_share"] == "hold"
    assert {decisions(result)[name] for name in ("empty_lists", "errors", "latency_p95")} == {"pass"}
    worst = result.source_changes[0]
    assert (worst.primary_source, worst.shadow_source) == ("hybrid", "popular")


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        ({"shadow_empty": 0.03}, "empty_lists"),
        ({"shadow_errors": 0.03}, "errors"),
        ({"slower": 3.0}, "latency_p95"),
    ],
)
def test_each_guardrail_catches_its_own_harm(harm, name):
    result = judged(World(users=1200, **harm))
    assert result.verdict == HOLD
    assert decisions(result)[name] == "hold"


def test_few_users_are_inconclusive_and_told_how_many_are_needed():
    result = judged(World(users=60))
    assert result.verdict == INCONCLUSIVE
    assert all(each.needed.users > 60 for each in result.metrics if each.role == "guardrail")


def test_a_shadow_that_never_answers_is_held():
    result = judged(World(users=1200, shadow_errors=1.0))
    assert result.verdict == HOLD
    assert set(decisions(result).values()) == {"hold", "descriptive"}
    assert {each.name: each.relation for each in result.metrics}["latency_p95"] == "≥"


def test_a_control_that_never_answers_is_a_veto_and_no_pass():
    result = judged(World(users=1200, control_errors=1.0))
    assert result.verdict == INCONCLUSIVE
    assert result.reasons[0].startswith("health: control")


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "no pair that can be read"),
        ([record(0, arm="control")], "no pair of arm 'shadow', only of control"),
        ([record(0)], "no pair of arm 'control', which errors, latency_p95 need"),
        (
            [record(0, primary=answer(status=500)), record(1, arm="control", primary=answer(status=500))],
            "no request has a readable answer of the primary (2 status 500)",
        ),
        ([record(0), msgspec.structs.replace(record(1), experiment="other")], "several experiments: demo, other"),
    ],
)
def test_a_log_that_cannot_be_judged_is_an_error_with_a_remedy(records, said):
    result = judge_log(records, inputs())
    assert result.verdict == ERROR
    assert said in result.reasons[0]
    assert result.metrics == ()


def test_without_metrics_that_need_it_no_control_is_needed():
    rules = plan(metric("long_tail_share"))
    shadow_only = [each for each in simulated(World(users=1200)) if each.arm == "shadow"]
    result = judge_log(shadow_only, inputs(rules))
    assert result.verdict == PASS
    assert (result.noise, result.latency, result.failures) == (None, (), None)


def test_constant_data_is_judged_without_a_nan():
    rows = []
    for number in range(400):
        base = {"request_id": f"r{number}", "unit": f"u{number}", "bucket": number * 2500}
        base["event_us"] = number * 3_600_000_000
        rows += [record(2 * number, **base), record(2 * number + 1, arm="control", **base)]
    result = judge_log(rows, inputs())
    assert decisions(result)["long_tail_share"] == "pass"
    assert decisions(result)["latency_p95"] == "inconclusive"
    assert b"NaN" not in msgspec.json.encode(result)


def test_a_bundle_that_is_not_what_answered_is_a_veto():
    right = BundleSummary(arm="primary", name="champion", version="aaaaaaaaaaaa", sha256="2" * 64)
    wrong = BundleSummary(arm="shadow", name="challenger", version="cccccccccccc", sha256="3" * 64)
    assert judged(World(users=1200), bundles=(right,)).verdict == PASS
    result = judged(World(users=1200), bundles=(right, wrong))
    assert result.verdict == INCONCLUSIVE
    assert "its bundle is challenger:cccccccccccc" in result.reasons[0]


def test_a_log_that_could_not_be_opened_is_an_error_too():
    assert not_judged(inputs(), "demo", "nothing there").reasons == ("nothing there",)


@given(st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_the_order_of_records_changes_nothing(seed):
    records = list(simulated(World(users=40, shadow_errors=0.1, fallback=0.3)))
    shuffled = random.Random(seed).sample(records, len(records))
    assert msgspec.json.encode(judge_log(records, inputs())) == msgspec.json.encode(judge_log(shuffled, inputs()))


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_the_smallest_logs_have_a_verdict(shadow, control, failures):
    rows = [record(n) for n in range(shadow)] + [
        record(n + 10, request_id=f"r{n}", arm="control") for n in range(control)
    ]
    rows += [record(n + 20, outcome=ARM_ERROR) for n in range(failures)]
    result = judge_log(rows, inputs())
    assert result.verdict in (INCONCLUSIVE, ERROR)
    assert all(value == value for value in numbers(result).values())
