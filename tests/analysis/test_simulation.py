"""The small run of `understudy simulate`, and proof that its arrays are what judges real logs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from analysis.aggregates import cell_sums
from analysis.batched import Batch, design, draws, log_ratios, means, quantile_differences
from analysis.batched_verdicts import planned_margin, verdicts
from analysis.estimates import Estimate, Spread, log_ratio, mean
from analysis.gate import Evidence, judge
from analysis.measures import MEAN_OF_REQUESTS, MEAN_OF_USERS
from analysis.quantiles import quantile_difference
from analysis.rates import rate
from analysis.schedule import WHOLE, due
from analysis.simulate_cli import simulate as command
from analysis.simulation import RARE, SMALL, simulate, steps
from analysis.verdict import EXIT_CODES
from tests.analysis.test_gate import metric, plan

NAMES = ("errors", "empty_lists", "latency_p95")


@pytest.fixture(scope="module")
def small():
    ticks = []
    return simulate(SMALL, 1, lambda: ticks.append(1)), len(ticks)


def test_every_promise_is_kept_in_the_small_run(small):
    rates, ticks = small
    assert ticks == steps(SMALL)
    assert [each for each in rates if not each.kept] == []
    assert len(rates) == 2 * 4 * len(SMALL.sizes) + len(RARE[1]) + 2 * 10 * 7 + 1


def test_a_test_on_requests_would_err_far_too_often_on_these_logs(small):
    naive = {each.setting: each.naive for each in small[0] if each.promise.startswith("type I")}
    assert all(0.14 < value < 0.32 for setting, value in naive.items() if setting.startswith("mean"))


def test_equal_seeds_give_equal_rates_and_others_do_not():
    from analysis.simulation import Size

    tiny = Size(100, 100, ((100, 20),), (100, 24))
    assert simulate(tiny, 3) == simulate(tiny, 3)
    assert simulate(tiny, 3) != simulate(tiny, 4)


@pytest.mark.parametrize("seed", [1, 2])
def test_batches_are_the_estimates_that_judge_real_logs(seed):
    rng = np.random.default_rng(seed)
    who = design(rng, 80, 24)
    shadow, control = (np.exp(draws(rng, who, 3)) for _ in range(2))
    users, blocks = who.users.astype(str), who.blocks.astype(np.int64)
    found = {
        MEAN_OF_USERS: means(who, shadow, by_user=True),
        MEAN_OF_REQUESTS: means(who, shadow, by_user=False),
        "ratio": log_ratios(who, shadow, control),
        "quantile": quantile_differences(who, shadow, control),
    }
    for run in range(3):
        cells = [cell_sums(users, blocks, arm[:, run]) for arm in (shadow, control)]
        expected = {average: mean(cells[0], average) for average in (MEAN_OF_USERS, MEAN_OF_REQUESTS)}
        expected["ratio"] = log_ratio(*cells)
        expected["quantile"] = quantile_difference(users, blocks, shadow[:, run], control[:, run], deadline=1e9)
        for name, batch in found.items():
            assert batch.values[run] == pytest.approx(expected[name].value, rel=1e-9)
            assert batch.errors[run] == pytest.approx(expected[name].standard_error, rel=1e-9)
            assert batch.freedom == pytest.approx(expected[name].spread.degrees_of_freedom, rel=1e-9)


@pytest.mark.parametrize("hours", [None, 25.0, 50.0, 100.0])
@pytest.mark.parametrize("span", [0.0, 1.0])
def test_verdicts_are_those_of_the_gate(hours, span):
    rng = np.random.default_rng(8)
    rules = plan(*(metric(name) for name in NAMES), looks=[25.0, 50.0, 100.0])
    look = WHOLE if hours is None else due(rules.looks, hours)
    values, errors = rng.normal(0.004, 0.004, (3, 40)), rng.uniform(0.0005, 0.004, (3, 40))
    errors[1, :10], values[1, :10] = 0.0, 0.0
    batches = [
        Batch(value, error, 99.0, error, 400.0, span, rate=name != "latency_p95")
        for name, value, error in zip(NAMES, values, errors, strict=True)
    ]
    expected = []
    for run in range(40):
        spreads = [Spread(errors[row, run] ** 2, 400, 100, 400.0, 100.0) for row in range(3)]
        found = [
            Evidence(entry, Estimate(values[row, run], spreads[row], 1000, span=span or 1e-12))
            for row, entry in enumerate(rules.metrics)
        ]
        expected.append(EXIT_CODES[judge(rules, found, [], hours or 1.0, look=look).verdict])
    assert verdicts(batches, 0.01, look=look).tolist() == expected
    assert len(set(expected)) > 1


def test_the_planned_margin_gives_each_guardrail_its_share_of_the_power():
    rng = np.random.default_rng(9)
    batches = [[Batch(rng.normal(0, 0.02, 4000), np.full(4000, 0.02), 99.0, np.ones(4000), 400.0)]]
    margin = planned_margin(batches, 2, WHOLE)
    assert margin / 0.02 == pytest.approx(stats.t.isf(0.05, 99) + stats.t.isf(0.1, 99), rel=0.02)


def test_a_rate_at_its_limit_is_accepted_and_one_far_beyond_is_not():
    assert rate("x", "y", 50, 1000, most=0.05).kept
    assert not rate("x", "y", 90, 1000, most=0.05).kept
    assert rate("x", "y", 780, 1000, least=0.8).kept
    assert not rate("x", "y", 700, 1000, least=0.8).kept
    assert not rate("x", "y", 60, 5000, most=0.001).kept


def test_the_command_prints_json_and_tells_by_its_exit_whether_all_was_kept(monkeypatch):
    monkeypatch.setattr("analysis.simulation.SMALL", type(SMALL)(100, 100, ((100, 24),), (200, 48)))
    found = CliRunner().invoke(command, ["--json", "--seed", "2"])
    told = json.loads(found.stdout)
    assert told["seed"] == 2
    assert found.exit_code == (0 if all(each["kept"] for each in told["rates"]) else 1)
    table = CliRunner().invoke(command, ["--markdown", "--seed", "2"]).stdout.splitlines()
    assert len(table) == len(told["rates"]) + 2
    text = CliRunner().invoke(command, ["--seed", "2"]).stdout.splitlines()
    assert text[-1].endswith("promises kept (seed 2)")
