"""Each estimator of an A/B test against who has it too: scipy and statsmodels live (1e-9), tea-tasting from its own
answers (1e-8, tests/bench/peers/tea_values.py; `make verify-tea-values` asks it again)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import statsmodels.api as sm
from click.testing import CliRunner
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.ab import TOTAL, Effect, compare, cuped, of_ratio, part, sample_ratio, stratified
from analysis.ab_cli import ab
from analysis.multiplicity import benjamini_hochberg, holm

VALUES = msgspec.json.decode((Path(__file__).parent / "tea_values.json").read_bytes())
CASES = [pytest.param(case, id=case["name"]) for case in VALUES["cases"]]
METRICS = ("welch", "z", "ratio", "cuped", "cuped_z")


def ours(case: dict, name: str) -> Effect:
    arms = [np.array(case["group"]) == group for group in (0, 1)]
    requests, clicks, before = ([np.array(case[key], float)[arm] for arm in arms]
                                for key in ("requests", "clicks", "before"))  # fmt: skip
    values = clicks
    if name == "ratio":
        values = [of_ratio(above, below) for above, below in zip(clicks, requests, strict=True)]
    if name.startswith("cuped"):
        values = list(cuped(clicks[0], clicks[1], before[0][:, None], before[1][:, None], TOTAL)[:2])
    return compare(part(values[0]), part(values[1]), 1 - VALUES["confidence"], normal=name.endswith("z"))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("case", CASES)
def test_an_effect_is_that_of_tea_tasting(case, name):
    found, theirs = ours(case, name), case["ab"][name]
    assert (found.control, found.treatment) == pytest.approx((theirs["control"], theirs["treatment"]), rel=1e-8)
    limits = (theirs["effect_size_ci_lower"], theirs["effect_size_ci_upper"])
    assert (found.low, found.high) == pytest.approx(limits, rel=1e-8)
    assert found.absolute == pytest.approx(theirs["effect_size"], rel=1e-8)
    assert found.absolute / found.error == pytest.approx(theirs["statistic"], rel=1e-8)
    assert found.p == pytest.approx(theirs["pvalue"], rel=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_sample_ratio_holm_and_benjamini_hochberg_are_those_of_tea_tasting(case):
    counts = np.bincount(case["group"])
    assert sample_ratio([int(each) for each in counts], [1, 1]) == pytest.approx(case["ab"]["sample_ratio"], rel=1e-8)
    p_values = [ours(case, name).p for name in METRICS]
    for adjust, name in ((holm, "holm"), (benjamini_hochberg, "benjamini_hochberg")):
        theirs = case["ab"]["adjusted"][name]
        assert adjust(p_values) == pytest.approx([theirs[metric] for metric in METRICS], rel=1e-8)


def simulated(seed: int, users: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arms of unequal size, heavy-tailed values, two covariates that explain some of them."""
    rng = np.random.default_rng(seed)
    arm = (rng.random(users) < 0.4).astype(int)
    covariates = np.column_stack([rng.gamma(2.0, 1.0, users), rng.normal(0, 2, users)])
    return arm, covariates @ [0.7, 0.3] + rng.gamma(1.0, 1.5, users) + 0.2 * arm, covariates


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("number", [1, 2])
def test_cuped_by_one_or_several_covariates_is_ordinary_least_squares(seed, number):
    arm, values, covariates = simulated(seed)
    columns = covariates[:, :number]
    control, treatment, explained = cuped(values[arm == 0], values[arm == 1], columns[arm == 0], columns[arm == 1])
    found = compare(part(control), part(treatment), 0.05)
    model = sm.OLS(values, sm.add_constant(np.column_stack([arm, columns]))).fit()
    assert found.absolute == pytest.approx(model.params[1], rel=1e-9)
    # Of the same residuals Welch's test of them: their means are the effect, their variances those within arms.
    residuals = values - columns @ model.params[2:]
    theirs = stats.ttest_ind(residuals[arm == 1], residuals[arm == 0], equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
    plain = sm.OLS(values, sm.add_constant(arm)).fit()
    assert explained == pytest.approx(1 - model.ssr / plain.ssr, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_post_stratification_is_a_contrast_of_the_saturated_regression(seed):
    arm, values, _ = simulated(seed)
    strata = np.random.default_rng(seed).integers(0, 3, len(arm))
    weights = np.bincount(strata) / len(strata)
    parts = [stratified(values[arm == each], strata[arm == each], weights) for each in (0, 1)]
    found = compare(parts[0], parts[1], 0.05, normal=True)
    cells = np.column_stack([(arm == a) & (strata == s) for a in (0, 1) for s in range(3)]).astype(float)
    # HC2 of a regression on cells is each cell's own variance with n − 1.
    theirs = sm.OLS(values, cells).fit(cov_type="HC2", use_t=False).t_test(np.concatenate([-weights, weights]))
    assert found.absolute == pytest.approx(theirs.effect[0], rel=1e-9)
    assert found.error == pytest.approx(theirs.sd.item(), rel=1e-9)
    assert found.p == pytest.approx(theirs.pvalue.item(), rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.conf_int()[0]), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_holm_and_benjamini_hochberg_are_statsmodels(seed):
    p_values = list(np.random.default_rng(seed).beta(0.5, 2.0, 11))
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), rel=1e-9)
    assert benjamini_hochberg(p_values) == pytest.approx(list(multipletests(p_values, method="fdr_bh")[1]), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_ratio_over_rows_is_the_cluster_robust_regression_on_rows(tmp_path, seed):
    """Through the command: rows as they stand, `rows` as the denominator, users as clusters."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(120), rng.poisson(4, 120) + 1)
    arm = users % 2
    clicks = rng.binomial(1, np.clip(rng.beta(2, 6, 120)[users] + 0.05 * arm, 0, 1))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "arm", "click"])
        rows.writerows(zip(users, arm, clicks, strict=True))
    line = [
        "analyze",
        str(tmp_path / "rows.csv"),
        "--control",
        "0",
        "--success",
        "name=ctr,numerator=click,denominator=rows",
    ]
    printed = CliRunner().invoke(ab, [*line, "--test", "z", "--json"])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.stdout)["metrics"][0]
    squares = 0.0
    for each in (0, 1):  # an arm alone, for each has its own number of clusters and so its own correction, G / (G − 1)
        here = arm == each
        fit = sm.OLS(clicks[here].astype(float), np.ones(int(here.sum()))).fit(
            cov_type="cluster", cov_kwds={"groups": users[here], "use_correction": False}
        )
        squares += fit.bse[0] ** 2 * 60 / 59
    both = sm.OLS(clicks.astype(float), sm.add_constant(arm)).fit(
        cov_type="cluster", cov_kwds={"groups": users, "use_correction": False}
    )
    assert found["absolute"] == pytest.approx(both.params[1], rel=1e-9)
    assert found["standard_error"] == pytest.approx(np.sqrt(squares), rel=1e-9)
    assert found["standard_error"] == pytest.approx(both.bse[1] * np.sqrt(60 / 59), rel=1e-9)
    assert found["p"] == pytest.approx(2 * stats.norm.sf(abs(found["absolute"]) / np.sqrt(squares)), rel=1e-9)
