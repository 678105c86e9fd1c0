"""`understudy plan new`: sizes, refusals that say what would do, and two files that agree."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from analysis.formulas import QuestionError
from analysis.measures import GUARDRAILS
from analysis.plan import parse_plan
from analysis.planning import Metric, Request, sized
from analysis.planning_cli import SHOWN, plan
from analysis.power_cli import power

CLICKED = Metric(name="clicked", role="success", size=0.006, baseline=0.2)
REVENUE = Metric(name="revenue", role="success", size=0.1, sd=8.0)
ERRORS = Metric(name="errors", role="guardrail", size=0.002, baseline=0.01, harm="higher", reason="the SLO")
LATENCY = Metric(name="latency", role="guardrail", size=5.0, sd=60.0, harm="higher", reason="the page's budget")
AB = ("new", "--template", "ab", "--name", "ranker-2", "--hypothesis", "More clicks.", "--traffic", "60000")
ONE = ("--success", "name=clicked,baseline=0.2,relative=0.03")
TWO = (
    *ONE,
    "--guardrail",
    "name=errors,baseline=0.01,absolute=0.002,harm=higher,reason=what the SLO, as signed, leaves",
)
SHADOW = ("new", "--template", "shadow", "--name", "mf-2", "--hypothesis", "No harm.", "--traffic", "3000",
          "--guardrail", "name=errors,sd=0.12,absolute=0.01,reason=one in a hundred")  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(plan, arguments)


def ask(*metrics: Metric, **others: float) -> Request:
    return Request(**({"template": "ab", "metrics": metrics, "traffic": 60_000.0} | others))  # type: ignore[arg-type]


def test_the_binding_metric_sets_the_weeks_and_every_metric_says_what_they_find():
    found = sized(ask(CLICKED, ERRORS))
    assert found.binding == "clicked"
    assert found.weeks == 4
    assert found.found["clicked"] < CLICKED.size
    assert found.found["errors"] < ERRORS.size
    assert found.needs["clicked"].power == pytest.approx(0.9)


def test_success_metrics_share_alpha_and_guardrails_do_not():
    alone, together = sized(ask(CLICKED)), sized(ask(CLICKED, REVENUE, ERRORS, LATENCY))
    assert together.request.question(CLICKED).test.alpha == pytest.approx(0.025)
    assert together.request.question(ERRORS).test.alpha == pytest.approx(0.05)
    assert together.needs["clicked"].power == pytest.approx(1 - 0.2 / 3)
    assert together.needs["clicked"].n > alone.needs["clicked"].n


def test_looks_cost_users_and_have_bounds_at_the_metrics_own_alpha():
    plain, looked = sized(ask(CLICKED, ERRORS)), sized(ask(CLICKED, ERRORS, looks=4))
    assert looked.needs["clicked"].n / plain.needs["clicked"].n == pytest.approx(looked.needs["clicked"].inflation)
    assert looked.needs["errors"].n == plain.needs["errors"].n
    assert looked.bounds is not None
    assert looked.bounds.limits[-1] == pytest.approx(2.0141, abs=5e-5)
    assert plain.bounds is None


def test_too_few_weeks_are_refused_with_three_things_that_would_do():
    with pytest.raises(QuestionError) as refused:
        sized(ask(CLICKED, ERRORS, most_weeks=2))
    said = str(refused.value)
    assert said.startswith(
        "clicked needs 4 weeks at 60000 users a week, and there are 2; what would do: clicked: an effect of 0.007"
    )
    assert re.search(r"instead of 0\.006, or 94,443 users a week, or 4 weeks$", said)
    effect = float(re.search(r"effect of ([\d.]+)", said).group(1))  # type: ignore[union-attr]
    bigger = Metric(name="clicked", role="success", size=effect, baseline=0.2)
    assert sized(ask(bigger, ERRORS, most_weeks=2)).weeks == 2
    assert sized(ask(CLICKED, ERRORS, most_weeks=2, traffic=94_443.0)).weeks == 2


@pytest.mark.parametrize("traffic", [62_961.0, 47_000.0, 9_001.0])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_what_a_refusal_says_would_do_does(traffic, most):
    with pytest.raises(QuestionError) as refused:
        sized(ask(CLICKED, ERRORS, most_weeks=most, traffic=traffic, least_weeks=1))
    said = str(refused.value)
    more, weeks = re.search(r"or ([\d,]+) users a week, or (\d+) weeks$", said).groups()  # type: ignore[union-attr]
    instead = dict(re.findall(r"(\w+): an? (?:effect|margin) of ([\d.]+) instead", said))
    metrics = [dataclasses.replace(each, size=float(instead.get(each.name, each.size))) for each in (CLICKED, ERRORS)]
    assert sized(ask(*metrics, most_weeks=most, traffic=traffic, least_weeks=1)).weeks == most
    assert (
        sized(ask(CLICKED, ERRORS, most_weeks=most, traffic=float(more.replace(",", "")), least_weeks=1)).weeks == most
    )
    assert sized(ask(CLICKED, ERRORS, most_weeks=int(weeks), traffic=traffic, least_weeks=1)).weeks == int(weeks)


def test_a_plan_without_weeks_is_refused():
    with pytest.raises(QuestionError, match="at least one week"):
        sized(ask(CLICKED, ERRORS, most_weeks=0))
    with pytest.raises(QuestionError, match="3 weeks are the least"):
        sized(ask(CLICKED, traffic=1e7, least_weeks=3, most_weeks=2))


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"metrics": ()}, "at least one metric"),
        ({"metrics": (CLICKED, CLICKED)}, "stands twice"),
        ({"metrics": (ERRORS,)}, "needs a success metric"),
        ({"template": "shadow", "metrics": (CLICKED,)}, "only guardrails can be judged"),
        ({"template": "shadow", "metrics": (LATENCY,), "looks": 3}, "the gate's own"),
        ({"metrics": (CLICKED, Metric(name="e", role="guardrail", size=0.1, sd=1.0))}, "needs a reason"),
        ({"metrics": (CLICKED,), "least_weeks": 0}, "at least one week"),
    ],
)
def test_a_request_that_makes_no_plan_is_refused_in_one_line(others, said):
    with pytest.raises(QuestionError, match=said):
        ask(**others)


def test_an_ab_plan_is_two_files_that_agree_and_carry_the_hash(tmp_path):
    assert run(*AB, *TWO, "--looks", "3", "--segment", "new users", "--out", str(tmp_path)).exit_code == 0
    text = (tmp_path / "plan.yaml").read_bytes()
    document, page = yaml.safe_load(text), (tmp_path / "plan.md").read_text()
    assert hashlib.sha256(text).hexdigest() in page
    assert document["hypothesis"] in page
    assert f"{document['users']['needed']:,} are needed" in page
    assert document["weeks"] == 4
    assert document["guardrails"][0]["reason"] == "what the SLO, as signed, leaves"
    assert document["looks"]["limits"][0] == pytest.approx(3.7103, abs=5e-5)
    assert document["success"][0]["smallest_found"] <= document["success"][0]["effect"]
    for words in ("new users", "Holm", "χ²", "what the SLO, as signed, leaves", "1 %, 10 %, 50 %", "lan-demets"):
        assert words in page


@pytest.mark.parametrize("arguments", [(*AB, *TWO, "--looks", "3", "--arms", "3", "--r-squared", "0.2"), SHADOW])
def test_the_commands_of_a_plan_make_its_numbers_again(tmp_path, arguments):
    assert run(*arguments, "--out", str(tmp_path)).exit_code == 0
    page = (tmp_path / "plan.md").read_text()
    needs = [int(cell.replace(",", "")) for cell in re.findall(r"^\| `.*\| ([\d,]+) \|$", page, re.MULTILINE)]
    lines = re.findall(r"^    understudy power (.*)$", page, re.MULTILINE)
    assert len(lines) == len(needs) > 0
    for line, need in zip(lines, needs, strict=True):
        printed = CliRunner().invoke(power, shlex.split(line))
        assert printed.exit_code == 0, printed.output
        assert f"{need:,}" in printed.stdout.splitlines()[0]


def test_a_shadow_plan_is_one_that_the_gate_reads(tmp_path):
    assert run(*SHADOW, "--out", str(tmp_path)).exit_code == 0
    read = parse_plan((tmp_path / "plan.yaml").read_bytes())
    assert [(metric.name, metric.margin, metric.comparison) for metric in read.metrics] == [
        ("errors", 0.01, "shadow - control")
    ]
    weeks, needed = (int(re.search(rf"{each}", (tmp_path / "plan.md").read_text())[1].replace(",", ""))
                     for each in (r"(\d+) whole weeks", r"([\d,]+) are needed"))  # fmt: skip
    assert read.looks == (weeks * 168 - 24,)
    assert read.minimum_users == -(-needed // 2) > 0
    page = (tmp_path / "plan.md").read_text()
    assert f"at {weeks * 168 - 24:,} hours of data" in page
    assert f"understudy gate LOCATION --plan {tmp_path / 'plan.yaml'}" in page
    assert "safe to expose to an A/B test, never better" in page
    assert re.findall("`(.*)` is not guarded", page) == [name for name in GUARDRAILS if name != "errors"]


def test_a_shadow_plan_without_a_guardrail_is_told_the_usual_ones(tmp_path):
    at = SHADOW.index("--guardrail")
    refused = run(*SHADOW[:at], *SHADOW[at + 2 :], "--out", str(tmp_path / "out"))
    assert refused.exit_code == 2
    assert f"usual guardrails are {', '.join(GUARDRAILS)}" in refused.stderr


def test_the_same_request_makes_the_same_bytes(tmp_path):
    for place in ("a", "b"):
        run(*AB, *TWO, "--out", str(tmp_path / place))
    assert (tmp_path / "a" / "plan.yaml").read_bytes() == (tmp_path / "b" / "plan.yaml").read_bytes()


def test_the_example_in_the_help_prints_what_the_help_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown_help = run("new", "--help").output
    example = re.search(r"\$ understudy plan (.*?)\n +(\d.*)\n", shown_help, re.DOTALL)
    assert example is not None
    assert example.group(2) == SHOWN
    printed = run(*shlex.split(example.group(1).replace("\\\n", " ")))
    assert printed.stdout.strip() == SHOWN, printed.output
    assert Path("plans/ranker-2/plan.md").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*AB, "--success", "baseline=0.2,relative=0.03"), "has no name="),
        ((*AB, "--success", "name=x,baseline=0.2"), "say absolute= or relative="),
        ((*AB, "--success", "name=x,sd=2,relative=0.1"), "needs baseline= or mean="),
        ((*AB, "--success", "name=x,absolute=0.1"), "baseline= (a proportion) or sd="),
        ((*AB, "--success", "name=x,baseline=two,absolute=0.1"), "is no number"),
        ((*AB, "--success", "name=x,colour=red,absolute=0.1"), "unknown key colour"),
        ((*AB, *ONE, "--guardrail", "name=e,baseline=0.1,absolute=0.01,harm=sideways,reason=x"), "lower or higher"),
        ((*AB, *ONE, "--weeks", "1"), "there are 1"),
        ((*AB, *ONE, "--weeks", "0"), "at least one week"),
        ((*AB, "--success", "name=x,mean=1,sd=1e300,relative=0.1"), "sd=1e300 is no number"),
        ((*AB, "--success", "name=x,baseline=nan,absolute=0.1"), "baseline=nan is no number"),
        ((*AB, "--success", "name=x\ny,absolute=0.1"), "baseline= (a proportion) or sd="),
        ((*AB, *ONE, "--traffic", "inf"), "traffic"),
        ((*AB, *ONE, "--looks", "2", "--power", "0.01"), "no more than the error"),
        ((*AB, *ONE, "--ramp", "half"), "could not convert"),
        ((*SHADOW[:-1], "name=colour,sd=1,absolute=1,reason=x"), "unknown metric 'colour'"),
        ((*SHADOW[:-1], "name=errors,baseline=0.1,absolute=1,reason=x"), "needs sd="),
    ],
)
def test_what_makes_no_plan_exits_2_with_one_line_and_leaves_nothing(tmp_path, arguments, said):
    refused = run(*arguments, "--out", str(tmp_path / "out"))
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: ")
    assert len(refused.stderr.splitlines()) == 1
    assert said in refused.stderr
    assert not (tmp_path / "out").exists()
