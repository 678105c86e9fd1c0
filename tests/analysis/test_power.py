"""The calculator: no NaN anywhere, inversions that meet, other libraries' numbers, and what surrounds a test."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import power as statsmodels_power
from statsmodels.stats.proportion import power_binom_tost, power_proportions_2indep

from analysis.formulas import Design, QuestionError, detectable_effect, sample_size
from analysis.formulas_noninferiority import restricted
from analysis.formulas_planning import (
    alpha_of_a_comparison,
    design_effect,
    power_of_each,
    weeks,
    whole_arms,
)
from analysis.formulas_student import equivalence_noncentral, equivalence_power, noncentral_above
from analysis.looks import POCOCK
from analysis.power import DESIGNS, for_effect, for_n, for_power, n_of_weeks
from analysis.power_question import Question, Surroundings

FIELDS = {
    "proportion": {"baseline": 0.1},
    "mean": {"sd": 1.3},
    "ratio": {"mean": 0.5, "sd": 0.9, "mean2": 2.0, "sd2": 1.0, "covariance": 0.25},
    "lift": {"mean": 2.0, "sd": 3.0},
    "one-mean": {"sd": 1.3},
    "one-proportion": {"baseline": 0.1},
    "mcnemar": {"discordant": 0.3},
    "chi-square": {"df": 3.0},
    "srm": {},
    "noninferiority-mean": {"sd": 1.3},
    "noninferiority-one-mean": {"sd": 1.3},
    "noninferiority-proportion": {"baseline": 0.1},
    "tost-mean": {"sd": 1.3},
    "tost-one-mean": {"sd": 1.3},
    "tost-proportion": {"baseline": 0.1},
    "tost-one-proportion": {"baseline": 0.1},
    "crossover": {"cv": 0.4, "truth": 1.0},
    "crossover-noninferiority": {"cv": 0.4, "truth": 1.0},
    "quantile": {"quantile": 0.95},
}
EVERY = [(name, convention) for name, kind in DESIGNS.items() for convention in kind.FORMULAS]
STEADY = [
    pair for pair in EVERY if pair not in {(name, "exact") for name in ("proportion", "one-proportion", "mcnemar")}
    and pair != ("tost-one-proportion", "exact") and pair != ("quantile", "wilks")
]  # fmt: skip
BOUNDED = {"proportion": 0.9, "one-proportion": 0.9, "mcnemar": 0.3, "srm": 0.5, "noninferiority-proportion": 0.999,
           "quantile": 1.0}  # fmt: skip


def design(name: str, convention: str, **others: float) -> Design:
    return DESIGNS[name](convention=convention, **(FIELDS[name] | others))


def test_every_design_of_the_issue_is_there_with_fields_in_this_test():
    assert set(FIELDS) == set(DESIGNS)


@pytest.mark.parametrize(("name", "convention"), EVERY)
def test_every_convention_names_its_formula_and_two_different_sources(name, convention):
    formula = DESIGNS[name].FORMULAS[convention]
    assert (formula.design, formula.convention) == (name, convention)
    assert all((formula.name, formula.text, formula.counts, formula.effect))
    assert len(set(formula.sources)) == 2


SIZES = np.geomspace(2, 1e9, 53)
EFFECTS = np.geomspace(1e-6, 10, 46)


def grid(name: str) -> list[tuple[float, float]]:
    """Observations and effects, those that the design's scale allows."""
    reach = BOUNDED.get(name, math.inf)
    return [(float(n), float(effect)) for n in SIZES for effect in EFFECTS if effect <= reach]


def test_the_grid_of_all_designs_has_a_hundred_thousand_points():
    assert sum(len(grid(name)) for name, _ in STEADY) + 160 * 160 >= 100_000


@pytest.mark.parametrize(("name", "convention"), STEADY)
def test_no_power_is_nan_on_the_grid(name, convention):
    asked = design(name, convention)
    for n, effect in grid(name):
        power = asked.power(n, effect)
        assert 0 <= power <= 1, (n, effect, power)


def test_no_power_of_a_t_test_is_nan_on_a_finer_grid():
    asked = design("mean", "t")
    for n, effect in itertools.product(np.geomspace(2, 1e9, 160), np.geomspace(1e-6, 10, 160)):
        assert 0 <= asked.power(float(n), float(effect)) <= 1, (n, effect)


def test_where_scipy_has_holes_a_power_rises_to_one():
    powers = [design("mean", "t", sd=1.0).power(100, effect) for effect in np.linspace(0.1, 6, 60)]
    assert all(np.diff(powers) >= -1e-14)
    assert powers[-1] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("name", "convention"), STEADY)
@pytest.mark.parametrize("n", [200.0, 31_337.0, 4e7])
def test_n_to_effect_and_back_and_n_to_power_and_back(name, convention, n):
    asked = design(name, convention)
    power = 0.95 if name == "quantile" else 0.8
    effect = detectable_effect(asked, n, power)
    assert asked.power(n, effect) == pytest.approx(power, abs=1e-9)
    assert sample_size(asked, effect, power) == pytest.approx(n, rel=1e-6)
    assert detectable_effect(asked, sample_size(asked, effect, power), power) == pytest.approx(effect, rel=1e-6)


def test_t_and_chi_square_powers_are_those_of_statsmodels():
    for d, n, alpha, ratio in itertools.product((0.05, 0.3, 0.9), (7, 60, 900), (0.01, 0.05), (0.5, 1.0, 2.0)):
        for sides, words in ((2, "two-sided"), (1, "larger")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = statsmodels_power.TTestIndPower().power(d, n, alpha, ratio, alternative=words)
                one = statsmodels_power.TTestPower().power(d, n, alpha, alternative=words)
                normal = statsmodels_power.NormalIndPower().power(d, n, alpha, ratio, alternative=words)
            ours = design("mean", "t", sd=1.0, ratio=ratio, alpha=alpha, sides=sides).power(n, d)
            assert ours == pytest.approx(theirs, abs=1e-9) or math.isnan(theirs)
            ours = design("one-mean", "t", sd=1.0, alpha=alpha, sides=sides).power(n, d)
            assert ours == pytest.approx(one, abs=1e-9) or math.isnan(one)
            ours = design("mean", "z", sd=1.0, ratio=ratio, alpha=alpha, sides=sides).power(n, d)
            assert ours == pytest.approx(normal, abs=1e-9)
        gof = statsmodels_power.GofChisquarePower().power(d, n, alpha, n_bins=5)
        assert design("chi-square", "noncentral", df=4.0, alpha=alpha).power(n, d) == pytest.approx(gof, abs=1e-9)


def test_proportion_powers_are_those_of_statsmodels():
    for baseline, difference, n, ratio in itertools.product((0.05, 0.4), (-0.03, 0.1), (60, 4000), (0.5, 1.0, 2.0)):
        # Theirs are n and the ratio of the arms the other way round.
        theirs = power_proportions_2indep(difference, baseline, n * ratio, ratio=1 / ratio, return_results=False)
        ours = design("proportion", "pooled-strict", baseline=baseline, ratio=ratio).power(n, difference)
        assert ours == pytest.approx(theirs, abs=1e-9)
    for truth, n in itertools.product((0.0, 0.03, 0.08), (50, 333)):
        theirs = power_binom_tost(0.4, 0.6, n, p_alt=0.5 + truth, alpha=0.05)
        ours = design("tost-one-proportion", "exact", baseline=0.5, truth=truth).power(n, 0.1)
        assert ours == pytest.approx(max(0.0, theirs), abs=1e-9)


def test_the_noncentral_t_is_scipys_where_scipy_has_one():
    compared = 0
    for df, drift, critical in itertools.product((1, 2, 9.5, 60, 3000), (-2.0, 0.3, 2.8, 7.0), (-1.0, 0.5, 2.0, 9.0)):
        theirs = float(stats.nct.sf(critical, df, drift))
        if 0 <= theirs <= 1:
            assert noncentral_above(df, drift, critical) == pytest.approx(theirs, abs=1e-9)
            compared += 1
    assert compared >= 60


def test_owens_exact_equivalence_power_is_what_is_simulated_and_above_the_approximation():
    rng = np.random.default_rng(3)
    z, spread = rng.standard_normal(400_000), np.sqrt(rng.chisquare(10, 400_000) / 10)
    cut = float(stats.t.isf(0.05, 10)) * spread
    for lower, upper in ((-3.0, 3.0), (-2.2, 4.0)):
        simulated = float(((z > lower + cut) & (z < upper - cut)).mean())
        exact = equivalence_power(10, lower, upper, 0.05)
        assert exact == pytest.approx(simulated, abs=0.0025)
        assert exact >= equivalence_noncentral(10, lower, upper, 0.05)


def test_exact_tests_have_the_power_that_enumeration_by_scipy_gives():
    n, others, first, second = 9, 12, 0.2, 0.7
    power = sum(
        stats.binom.pmf(a, n, first) * stats.binom.pmf(b, others, second)
        for a, b in itertools.product(range(n + 1), range(others + 1))
        if stats.fisher_exact([[a, n - a], [b, others - b]]).pvalue <= 0.05
    )
    ours = design("proportion", "exact", baseline=first, ratio=others / n).power(n, second - first)
    assert ours == pytest.approx(float(power), abs=1e-12)
    rejected = [k for k in range(41) if min(stats.binom.sf(k - 1, 40, 0.3), stats.binom.cdf(k, 40, 0.3)) <= 0.025]
    ours = design("one-proportion", "exact", baseline=0.3).power(40, 0.2)
    assert ours == pytest.approx(float(stats.binom.pmf(rejected, 40, 0.5).sum()), abs=1e-12)
    pairs = [
        stats.binom.pmf(m, 30, 0.4) * stats.binom.pmf(k, m, 0.8)
        for m in range(1, 31)
        for k in range(m + 1)
        if min(stats.binom.sf(k - 1, m, 0.5), stats.binom.cdf(k, m, 0.5)) <= 0.025
    ]
    assert design("mcnemar", "exact", discordant=0.4).power(30, 0.24) == pytest.approx(float(sum(pairs)), abs=1e-12)


def test_an_exact_sample_size_is_the_smallest_whole_one_that_suffices():
    asked = design("one-proportion", "exact", baseline=0.1)
    n = sample_size(asked, 0.1, 0.8)
    assert n == int(n)
    assert asked.power(n, 0.1) >= 0.8
    assert all(asked.power(smaller, 0.1) < 0.8 for smaller in range(2, int(n)))


def test_restricted_proportions_differ_by_the_shift_and_are_the_likeliest():
    for first, second, ratio, shift in itertools.product((0.1, 0.5), (0.15, 0.6), (0.4, 1.0, 3.0), (-0.2, 0.05, 0.3)):
        null_first, null_second = restricted(first, second, ratio, shift)
        assert null_second - null_first == pytest.approx(shift, abs=1e-9)
        trial = np.linspace(max(0.0, -shift) + 1e-6, min(1.0, 1 - shift) - 1e-6, 4001)
        likelihood = (
            first * np.log(trial) + (1 - first) * np.log1p(-trial)
            + ratio * (second * np.log(trial + shift) + (1 - second) * np.log1p(-trial - shift))
        )  # fmt: skip
        assert null_first == pytest.approx(float(trial[likelihood.argmax()]), abs=5e-4)


@pytest.mark.parametrize(
    ("name", "convention", "n", "effect"),
    [("mean", "welch", 60, 0.6), ("proportion", "pooled", 700, 0.06), ("mcnemar", "connor", 150, 0.15)],
)
def test_a_power_is_how_often_a_simulated_test_succeeds(name, convention, n, effect):
    rng = np.random.default_rng(5)
    runs = 6000
    if name == "mean":
        asked = design(name, convention, sd=1.0, sd2=2.0, ratio=2.0)
        won = stats.ttest_ind(
            rng.normal(effect, 2.0, (runs, 2 * n)), rng.normal(0, 1.0, (runs, n)), axis=1, equal_var=False
        ).pvalue <= 0.05  # fmt: skip
    elif name == "proportion":
        asked = design(name, convention, baseline=0.2)
        a, b = rng.binomial(n, 0.2, runs) / n, rng.binomial(n, 0.2 + effect, runs) / n
        pooled = (a + b) / 2
        won = np.abs(a - b) / np.sqrt(2 * pooled * (1 - pooled) / n) > 1.96
    else:
        asked = design(name, convention, discordant=0.3)
        cells = rng.multinomial(n, [0.15 + effect / 2, 0.15 - effect / 2, 0.7], runs)
        won = np.abs(cells[:, 0] - cells[:, 1]) / np.sqrt(np.maximum(1, cells[:, 0] + cells[:, 1])) > 1.96
    assert asked.power(n, effect) == pytest.approx(float(won.mean()), abs=0.022)


def test_four_conventions_answer_one_question_in_four_ways():
    found = {
        name: math.ceil(sample_size(design("proportion", name, baseline=0.2), 0.05, 0.8))
        for name in ("unpooled", "arcsine", "pooled")
    }
    assert found == {"unpooled": 1091, "arcsine": 1092, "pooled": 1094}
    assert round(sample_size(design("proportion", "baseline-null", baseline=0.2), 0.05, 0.8)) == 1030


def ask(around: Surroundings | None = None, **others: float) -> Question:
    return Question(test=design("mean", "z", **others), around=around or Surroundings())


def test_clusters_covariates_and_looks_multiply_what_is_needed():
    plain = for_n(ask(), 0.1).n
    clustered = Surroundings(icc=0.02, cluster_size=11, cluster_cv=0.5)
    assert for_n(ask(clustered), 0.1).n == pytest.approx(plain * design_effect(0.02, 11, 0.5))
    assert design_effect(0.02, 11, 0.5) == pytest.approx(1 + (1.25 * 11 - 1) * 0.02)
    assert for_n(ask(Surroundings(r_squared=0.4)), 0.1).n == pytest.approx(0.6 * plain)
    looked = for_n(ask(Surroundings(looks=5, spending=POCOCK)), 0.1)
    assert looked.n == pytest.approx(plain * looked.inflation)
    assert looked.inflation == pytest.approx(1.228, abs=0.001)


def test_with_looks_power_and_effect_are_inversions_of_each_other_too():
    question = ask(Surroundings(looks=4, icc=0.01, cluster_size=5))
    answer = for_n(question, 0.1)
    assert for_power(question, answer.n, 0.1).power == pytest.approx(0.8, abs=1e-9)
    assert for_effect(question, answer.n).effect == pytest.approx(0.1, rel=1e-6)


def test_a_clustered_t_test_counts_clusters_in_its_degrees_of_freedom():
    test = design("mean", "t", sd=1.0)
    few = Question(test=test, around=Surroundings(icc=0.05, cluster_size=100))
    n = for_n(few, 0.5).n
    clusters = n / 100
    worth = n / design_effect(0.05, 100)
    drift = 0.5 / math.sqrt(2 / worth)
    critical = stats.t.isf(0.025, 2 * clusters - 2)
    assert float(stats.nct.sf(critical, 2 * clusters - 2, drift)) == pytest.approx(0.8, abs=1e-6)


def test_comparisons_share_alpha_and_guardrails_share_beta():
    several = for_n(ask(Surroundings(arms=4)), 0.1)
    assert several.n == pytest.approx(for_n(ask(alpha=0.05 / 3), 0.1).n)
    assert several.arms.total == 4 * math.ceil(several.n)
    assert alpha_of_a_comparison(0.05, 3, "sidak") == pytest.approx(1 - math.sqrt(0.95))
    assert power_of_each(0.8, 5, False) == pytest.approx(0.96)
    assert power_of_each(0.8, 5, True) == pytest.approx(1 - 0.2 / 6)
    guarded = for_n(ask(Surroundings(guardrails=5)), 0.1)
    assert guarded.power == pytest.approx(0.96)
    assert guarded.n == pytest.approx(sample_size(design("mean", "z"), 0.1, 0.96))


def test_traffic_makes_whole_weeks_and_too_few_of_them_are_refused_with_what_they_would_find():
    question = ask(Surroundings(traffic=1000.0))
    answer = for_n(question, 0.1)
    assert answer.weeks == math.ceil(answer.arms.total / 1000)
    short = dataclasses.replace(question, around=Surroundings(traffic=1000.0, most_weeks=2))
    with pytest.raises(QuestionError, match=r"there are 2; they find an effect of 0\.16") as refused:
        for_n(short, 0.1)
    assert "\n" not in str(refused.value)
    assert for_effect(short, n_of_weeks(short, 2)).arms.total == 2000
    assert weeks(1000, 1000.0) == 1
    assert weeks(1001, 1000.0) == 2
    assert whole_arms(100.0000000001, 2.0, 2).control == 100


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("mean", {"sd": -1.0}, "standard deviation must be a positive number"),
        ("mean", {"sd": math.nan}, "standard deviation must be a positive number"),
        ("mean", {"sd": 1.0, "sd2": 2.0, "convention": "t"}, "use welch or z"),
        ("mean", {"sd": 1.0, "alpha": 1.5}, "alpha must lie between"),
        ("mean", {"sd": 1.0, "sides": 3}, "alpha must lie|one side or two"),
        ("proportion", {"baseline": 1.2}, "baseline must lie between 0 and 1"),
        ("proportion", {"baseline": 0.2, "convention": "poold"}, "no convention"),
        ("ratio", {"mean": 1.0, "sd": 1.0, "mean2": 1.0, "sd2": 1.0, "covariance": 2.0}, "covariance"),
        ("ratio", {"mean": 1.0, "sd": 1.0, "mean2": 1.0, "sd2": 1.0, "covariance": 1.0}, "no variance"),
        ("mcnemar", {"discordant": 0.0}, "discordant"),
        ("lift", {"mean": 0.0, "sd": 1.0}, "positive mean"),
        ("tost-mean", {"sd": 1.0, "sides": 2}, "two tests of one side"),
        ("noninferiority-proportion", {"baseline": 0.9, "truth": 0.2}, "treatment must lie"),
    ],
)
def test_impossible_designs_are_refused_in_one_line(name, fields, said):
    with pytest.raises(QuestionError, match=said) as refused:
        DESIGNS[name](**fields)
    assert "\n" not in str(refused.value)


def test_impossible_questions_are_refused_in_one_line():
    with pytest.raises(QuestionError, match="no number of observations"):
        sample_size(design("mean", "z"), 0.0, 0.8)
    with pytest.raises(QuestionError, match="no number of observations"):
        sample_size(design("tost-mean", "exact", truth=0.5), 0.4, 0.8)
    with pytest.raises(QuestionError, match="outside 0 to 1"):
        sample_size(design("proportion", "pooled"), 0.95, 0.8)
    with pytest.raises(QuestionError, match="no effect reaches"):
        detectable_effect(design("proportion", "pooled", baseline=0.9), 30, 0.8)
    with pytest.raises(QuestionError, match="power must lie"):
        sample_size(design("mean", "z"), 0.1, 1.0)
    with pytest.raises(QuestionError, match="normal convention"):
        for_n(Question(test=design("mcnemar", "exact"), around=Surroundings(looks=3)), 0.1)
    with pytest.raises(QuestionError, match="two of them"):
        for_n(Question(test=design("one-mean", "z"), around=Surroundings(arms=3)), 0.1)
    with pytest.raises(QuestionError, match="impossible with"):
        for_n(ask(Surroundings(icc=-0.5, cluster_size=10)), 0.1)


def test_the_documentation_names_every_convention_of_every_design_in_order():
    page = (Path(__file__).parents[2] / "docs" / "power.md").read_text()
    rows = dict(re.findall(r"^\| (`[a-z0-9-]+`[^|]*) \| (`[^|]*) \|$", page, re.MULTILINE))
    said = {
        name: tuple(re.findall(r"`([^`]+)`", conventions))
        for names, conventions in rows.items()
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert {name: said.get(name) for name in DESIGNS} == {
        name: tuple(sorted(kind.FORMULAS, key=lambda each: each != default(kind))) for name, kind in DESIGNS.items()
    }


def default(kind: type[Design]) -> str:
    return str(next(field.default for field in dataclasses.fields(kind) if field.name == "convention"))
