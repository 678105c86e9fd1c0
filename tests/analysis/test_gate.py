"""The truth table of the gate. Evidence is built by hand: 400 equal users and 100 equal blocks, so t has 99 df."""

from __future__ import annotations

import math
import re

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.estimates import NO_VARIATION, Estimate, Spread
from analysis.gate import Evidence, judge
from analysis.plan import MetricPlan, Plan, parse_plan
from analysis.quantiles import NO_SLOPE
from analysis.schedule import due
from analysis.verdict import ERROR, EXIT_CODES, HOLD, INCONCLUSIVE, OK, PASS, VETO, WARN, Check

ALL = ("long_tail_share", "empty_lists", "errors", "latency_p95", "overlap_at_10")
COMPARISONS = {"long_tail_share": "shadow - primary", "empty_lists": "shadow - primary"}
T = float(stats.t.isf(0.05, 99))


def metric(name: str, unit: str | None = None, margin: float = 0.01) -> dict:
    descriptive = name == "overlap_at_10"
    units = {"long_tail_share": "share", "overlap_at_10": "share", "latency_p95": "ms"}
    found = {
        "name": name,
        "role": "descriptive" if descriptive else "guardrail",
        "comparison": "shadow with primary" if descriptive else COMPARISONS.get(name, "shadow - control"),
        "unit": unit or units.get(name, "rate"),
        "reason": "for the test",
    }
    return found if descriptive else found | {"margin": margin}


def plan(*metrics: dict, **changes: object) -> Plan:
    base = {"schema_version": 1, "name": "test", "block_hours": 6, "deadline_ms": 2000, "metrics": list(metrics)}
    return parse_plan(yaml.safe_dump(base | changes).encode())


def evidence(
    entry: MetricPlan, value: float, se: float, *, users: float = 400, blocks: float = 100, span: float = 1e-9, **others
) -> Evidence:
    """`span` is next to nothing, so that the rule of three stays out of the way unless it is what is tested."""
    spread = Spread(se**2, int(users), int(blocks), users, blocks, (NO_VARIATION,) if se == 0 else ())
    return Evidence(entry, Estimate(value, spread, 1000, span=span, **others))


def one(value: float, se: float, name: str = "errors", margin: float = 0.01, checks=(), **others):
    """The judgement on a plan with one guardrail."""
    rules = plan(metric(name, margin=margin))
    return judge(rules, [evidence(rules.metrics[0], value, se, **others)], checks, hours=100.0)


@pytest.mark.parametrize(
    ("value", "se", "decision", "verdict"),
    [
        (0.0, 0.001, "pass", PASS),
        (-0.05, 0.001, "pass", PASS),
        (0.005, 0.001, "pass_with_note", PASS),
        (0.02, 0.001, "hold", HOLD),
        (0.0095, 0.001, "hold", HOLD),
        (0.0, 0.01, "inconclusive", INCONCLUSIVE),
        (0.01, 0.008, "inconclusive", INCONCLUSIVE),
        (-0.001, 0.008, "inconclusive", INCONCLUSIVE),
    ],
)
def test_the_four_cells(value, se, decision, verdict):
    found = one(value, se)
    assert (found.metrics[0].decision, found.verdict) == (decision, verdict)
    # Where lower is harm the mirror image decides the same.
    mirrored = one(-value, se, name="long_tail_share")
    assert (mirrored.metrics[0].decision, mirrored.verdict) == (decision, verdict)


def test_limits_are_those_of_student_and_the_distance_to_the_margin_is_said():
    metric_result = one(0.002, 0.001).metrics[0]
    assert metric_result.lower == pytest.approx(0.002 - T * 0.001)
    assert metric_result.upper == pytest.approx(0.002 + T * 0.001)
    assert metric_result.to_margin == pytest.approx(0.01 - 0.002 - T * 0.001)
    assert metric_result.p_harm == pytest.approx(stats.t.sf(2, 99))


def test_where_lower_is_harm_the_lower_limit_meets_the_margin():
    metric_result = one(-0.002, 0.001, name="long_tail_share").metrics[0]
    assert metric_result.estimate == -0.002
    assert metric_result.lower == pytest.approx(-0.002 - T * 0.001)
    assert metric_result.to_margin == pytest.approx(0.01 - 0.002 - T * 0.001)


def test_a_limit_on_the_good_side_is_told_as_a_gain():
    assert "excluded (better by 0.0434 or more)" in one(-0.05, 0.004, margin=0.01).reasons[0]
    assert "excluded (at most 0.0017)" in one(0.0, 0.001, margin=0.01).reasons[0]


def test_the_margin_itself_is_not_inside():
    se = 0.001
    assert one(0.01 - T * se - 1e-9, se).metrics[0].decision in ("pass", "pass_with_note")
    assert one(0.01 - T * se + 1e-9, se).metrics[0].decision == "hold"


def test_every_guardrail_must_be_safe_and_one_hold_is_enough():
    rules = plan(*(metric(name, margin=10 if name == "latency_p95" else 0.01) for name in ALL))
    good = {entry.name: evidence(entry, 0.0, 0.001) for entry in rules.metrics}
    assert judge(rules, list(good.values()), [], 1).verdict == PASS
    open_one = good | {"errors": evidence(rules.metrics[2], 0.0, 0.01)}
    assert judge(rules, list(open_one.values()), [], 1).verdict == INCONCLUSIVE
    held = open_one | {"empty_lists": evidence(rules.metrics[1], 0.05, 0.001)}
    found = judge(rules, list(held.values()), [], 1)
    assert found.verdict == HOLD
    assert [reason.split(":")[0] for reason in found.reasons[:2]] == ["empty_lists", "errors"]


def test_a_description_never_decides():
    rules = plan(metric("errors"), metric("overlap_at_10"))
    found = judge(rules, [evidence(rules.metrics[0], 0.0, 0.001), evidence(rules.metrics[1], 0.1, 0.001)], [], 1)
    assert found.verdict == PASS
    assert found.metrics[1].decision == "descriptive"
    assert found.metrics[1].p_harm is None


def test_a_pass_with_note_comes_first_among_the_reasons_of_a_pass():
    rules = plan(metric("errors"), metric("empty_lists"))
    found = judge(rules, [evidence(rules.metrics[0], 0, 0.001), evidence(rules.metrics[1], 0.005, 0.001)], [], 1)
    assert found.verdict == PASS
    assert found.reasons[0].startswith("empty_lists")


def test_harm_is_adjusted_by_holm_as_statsmodels_does_it():
    rules = plan(*(metric(name) for name in ALL[:4]))
    values = [0.0017, 0.0024, 0.0031, 0.0005]
    signs = [-1, 1, 1, 1]
    found = judge(
        rules,
        [evidence(entry, sign * value, 0.001) for entry, value, sign in zip(rules.metrics, values, signs, strict=True)],
        [],
        1,
    )
    expected = multipletests(stats.t.sf(np.array(values) / 0.001, 99), method="holm")[1]
    assert [each.p_harm_holm for each in found.metrics] == pytest.approx(expected.tolist(), rel=1e-9)
    # 0.0017 alone would be shown (p = .046); among four it is not.
    assert found.metrics[0].decision == "pass"


def test_health_can_veto_a_pass_and_a_hold_and_never_helps():
    veto = Check(name="pair loss", state=VETO, found="5 %", expected="2 %")
    fine = [Check(name="log", state=state, found="x", expected="y") for state in (OK, WARN)]
    assert one(0.0, 0.001, checks=[*fine, veto]).verdict == INCONCLUSIVE
    assert one(0.02, 0.001, checks=[veto]).verdict == INCONCLUSIVE
    assert one(0.02, 0.001, checks=[veto]).metrics[0].decision == "hold"
    assert one(0.0, 0.001, checks=[veto]).reasons[0].startswith("health: pair loss: 5 %")
    assert one(0.0, 0.001, checks=fine).verdict == PASS
    assert one(0.0, 0.01, checks=fine).verdict == INCONCLUSIVE


def test_what_cannot_be_judged_is_an_error_with_its_reason():
    rules = plan(metric("errors"))
    unusable = judge(rules, [evidence(rules.metrics[0], 0, 0.001)], [], 1, unusable=["the log is empty"])
    assert (unusable.verdict, unusable.reasons, unusable.metrics) == (ERROR, ("the log is empty",), ())
    assert judge(rules, [], [], 1).verdict == ERROR
    assert "errors: no evidence" in judge(rules, [], [], 1).reasons


@pytest.mark.parametrize(
    ("users", "blocks", "said"), [(199, 100, "199.0 effective users"), (400, 19, "19.0 effective")]
)
def test_below_the_floors_nothing_is_decided_not_even_plain_harm(users, blocks, said):
    for value in (0.0, 0.5):
        found = one(value, 0.001, users=users, blocks=blocks)
        assert found.verdict == INCONCLUSIVE
        assert said in found.reasons[0]
        assert round(found.metrics[0].needed.users, 6) >= 200


def test_no_estimate_is_inconclusive_and_says_why():
    rules = plan(metric("latency_p95"))
    found = judge(rules, [Evidence(rules.metrics[0], None, "the control's own p95 is at the deadline")], [], 1)
    assert found.verdict == INCONCLUSIVE
    assert found.reasons == ("latency_p95: the control's own p95 is at the deadline",)
    assert found.metrics[0].estimate is None


def test_a_percentile_without_variation_is_inconclusive():
    spread = Spread(0.0, 400, 100, 400, 100, (NO_SLOPE,))
    rules = plan(metric("latency_p95"))
    found = judge(rules, [Evidence(rules.metrics[0], Estimate(0.0, spread, 1000))], [], 1)
    assert found.verdict == INCONCLUSIVE
    assert NO_SLOPE in found.reasons[0]


def test_latency_cut_off_at_the_deadline_is_never_safe_and_is_printed_as_at_least():
    shown_harm = one(1500.0, 5.0, name="latency_p95", margin=10, span=0.0, at_least=True)
    assert shown_harm.verdict == HOLD
    assert (shown_harm.metrics[0].relation, shown_harm.metrics[0].upper) == ("≥", None)
    assert "≥ +1500.00 ms" in shown_harm.reasons[0]
    assert one(0.1, 5.0, name="latency_p95", margin=10, span=0.0, at_least=True).verdict == INCONCLUSIVE


def test_constant_lists_pass_when_enough_users_rule_out_more_than_the_margin():
    assert one(0.0, 0.0, span=1.0, users=400).metrics[0].decision == "pass"
    few = one(0.0, 0.0, span=1.0, users=250)
    assert few.metrics[0].decision == "inconclusive"
    # Rule of three: 1 − .05^(1/n) < .01 needs 299 users.
    assert few.metrics[0].needed.users == pytest.approx(math.log(0.05) / math.log(0.99))
    assert one(0.3, 0.0, span=1.0).metrics[0].decision == "hold"


def test_a_relative_margin_is_judged_on_the_logarithm_and_shown_as_a_change():
    rules = plan(metric("latency_p95", unit="relative", margin=0.25))
    found = judge(rules, [evidence(rules.metrics[0], math.log(1.1), 0.02, log=True)], [], 1).metrics[0]
    assert found.estimate == pytest.approx(0.1)
    assert found.upper == pytest.approx(1.1 * math.exp(T * 0.02) - 1)
    assert found.decision == "pass_with_note"
    assert found.to_margin == pytest.approx(0.25 - found.upper)


def test_when_the_traffic_would_do_but_the_estimate_is_in_the_way_it_says_so():
    found = one(0.0075, 0.0033)
    assert found.metrics[0].decision == "hold" or "stands in the way" in found.reasons[0]
    found = one(0.005, 0.0035)
    assert found.metrics[0].decision == "inconclusive"
    assert "stands in the way" in found.reasons[0]


def test_an_inconclusive_says_how_many_more_users_and_hours_with_an_interval():
    found = one(0.0, 0.01)
    assert "more (90 % interval" in found.reasons[0]
    assert re.search(r"; [\d,]+ more \(90 % interval [\d,]+ to [\d,]+\) users and [\d,]+ more", found.reasons[0])


def test_at_an_early_look_the_limits_are_wider_and_at_the_last_one_nearly_those_of_a_single_look():
    rules = plan(metric("errors"), looks=[25.0, 50.0, 75.0, 100.0])
    reached = {hours: due(rules.looks, hours) for hours in (25.0, 50.0, 75.0, 100.0)}
    upper = {}
    for hours, look in reached.items():
        result = judge(rules, [evidence(rules.metrics[0], 0.0, 0.001)], [], hours, look=look).metrics[0]
        upper[hours] = result.upper
        assert result.upper == pytest.approx(stats.t.isf(look.nominal(0.05), 99) * 0.001, rel=1e-7)
    assert sorted(upper.values(), reverse=True) == list(upper.values())
    single = one(0.0, 0.001).metrics[0].upper
    assert single < upper[100.0] < 1.1 * single


def test_harm_that_a_single_look_would_show_is_not_shown_at_an_early_one():
    rules = plan(metric("errors"), looks=[25.0, 100.0])
    shown_now = [evidence(rules.metrics[0], 0.02, 0.009)]
    assert judge(rules, shown_now, [], 25.0).verdict == HOLD
    assert judge(rules, shown_now, [], 25.0, look=due(rules.looks, 25.0)).verdict == INCONCLUSIVE
    assert judge(rules, shown_now, [], 25.0, look=due(rules.looks, 100.0)).verdict == HOLD


def test_exit_codes_are_the_promised_ones():
    assert EXIT_CODES == {PASS: 0, HOLD: 1, INCONCLUSIVE: 3, ERROR: 4}


def test_pass_says_safe_and_never_better():
    from analysis.gate import MEANING

    assert MEANING[PASS] == "Safe to expose to an A/B test."


number = st.floats(-1, 1, allow_nan=False)
SINGLE = {name: plan(metric(name)) for name in ALL[:4]}


@given(
    number,
    st.floats(0, 1),
    st.sampled_from(ALL[:4]),
    st.floats(1, 1000),
    st.floats(1, 1000),
    st.sampled_from([0.0, 1.0]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_every_number_of_every_result_is_finite_and_pass_needs_the_limit_inside(
    value, se, name, users, blocks, span, at_least
):
    spread = Spread(se**2, int(users), int(blocks), users, blocks)
    rules = SINGLE[name]
    found = judge(rules, [Evidence(rules.metrics[0], Estimate(value, spread, 10, span, False, at_least))], [], 5.0)
    text = msgspec.json.encode(found.metrics)
    assert b"NaN" not in text
    fields = msgspec.to_builtins(found.metrics[0])
    numbers = [each for each in [*fields.values(), *(fields["needed"] or {}).values()] if isinstance(each, float)]
    assert all(math.isfinite(each) for each in numbers)
    if found.verdict == PASS:
        assert found.metrics[0].to_margin > 0
        assert min(users, 200) == 200


def test_a_relative_margin_is_that_of_the_ratio_and_not_of_its_logarithm():
    rules = plan(metric("latency_p95", "relative", margin=0.5))
    for value, decision in ((0.39, "pass_with_note"), (0.45, "hold")):
        found = judge(rules, [evidence(rules.metrics[0], value, 0.001, log=True)], (), hours=100.0).metrics[0]
        assert (found.decision, found.estimate) == (decision, pytest.approx(math.expm1(value)))
        assert found.to_margin == pytest.approx(0.5 - found.upper)
