"""`understudy power`: worked examples, forms that agree, refusals in one line, a help that imports nothing heavy."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from analysis.looks import DESIGNS as BOUNDS
from analysis.power import DESIGNS
from analysis.power_cli import SPENDINGS, power
from analysis.power_commands import BY_NAME, COMMANDS
from analysis.power_examples import EXAMPLES

PROPORTION = ("proportion", "--baseline", "0.2", "--absolute", "0.05")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(power, arguments)


def document(*arguments: str) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_in_the_help_prints_what_the_help_shows(name):
    arguments, shown = EXAMPLES[name]
    shown_help = run(name, "--help").output
    assert f"$ understudy power {name} {arguments}\n" in shown_help
    assert all(f"  {line}\n" in shown_help for line in shown)
    printed = run(name, *arguments.split())
    assert printed.exit_code == 0, printed.output
    assert printed.stdout.splitlines()[: len(shown)] == shown
    assert shown[-1].endswith(".")


def test_the_table_has_a_command_for_each_design_with_its_conventions():
    assert {command.design for command in COMMANDS} == set(DESIGNS)
    assert set(EXAMPLES) == {*BY_NAME, "looks"}
    assert set(SPENDINGS) == set(BOUNDS)
    for command in COMMANDS:
        kind = DESIGNS[command.design]
        assert set(command.conventions) == set(kind.FORMULAS), command.name
        default = kind.__dataclass_fields__["convention"].default
        assert command.conventions[0] == default, command.name
        known = {*kind.__dataclass_fields__, "mean", "value"}
        assert {own.field for own in command.own} <= known, command.name


@pytest.mark.parametrize("arguments", [("--help",), ("proportion", "--help"), ("looks", "--help")])
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys\nfrom analysis.power_cli import power\n"
        f"try:\n    power({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'scipy', 'numpy', 'rich', 'statsmodels', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_it_is_a_plain_script_too():
    command = [sys.executable, "-m", "analysis.power", *PROPORTION, "--no-curve"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("1,094 users in each of 2 arms, 2,188 in all")


def test_every_form_says_the_same_and_names_convention_formula_and_source():
    found = document(*PROPORTION)
    table, markdown = run(*PROPORTION).stdout, run(*PROPORTION, "--format", "markdown").stdout
    assert found["headline"] in markdown
    assert " ".join(table.split()).startswith(found["headline"])
    for text in (found["convention"], *found["formula"]["sources"], found["formula"]["name"]):
        assert text in markdown
        assert re.sub(r"\s+", "", text) in re.sub(r"\s+", "", table)
    rows = list(csv.DictReader(io.StringIO(run(*PROPORTION, "--format", "csv").stdout)))
    assert [[float(row["n"]), float(row["power"])] for row in rows] == found["curve"]
    assert (found["control"], found["total"]) == (1094, 2188)
    assert found["n"] == pytest.approx(1093.7, abs=0.1)
    assert found["relative_effect"] == pytest.approx(0.25)
    assert found["other_conventions"]["unpooled"] == pytest.approx(1090.9, abs=0.2)


def test_the_curve_is_one_svg_without_links_and_a_drawing_in_the_terminal():
    svg = run(*PROPORTION, "--format", "svg").stdout
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "href" not in svg
    line = next(each for each in root if each.tag.endswith("polyline"))
    assert len(line.attrib["points"].split()) == len(document(*PROPORTION)["curve"])
    drawn = run(*PROPORTION).stdout.split("power\n", 1)[1]
    assert drawn.count("●") == 1
    assert "●" not in run(*PROPORTION, "--no-curve").stdout


@pytest.mark.parametrize("bounds", BOUNDS)
def test_looks_too_say_formula_and_sources_in_every_form_and_what_other_bounds_cost(bounds, tmp_path):
    asked = ("looks", "--looks", "4", "--convention", bounds)
    found = document(*asked)
    table, markdown = run(*asked).stdout, run(*asked, "--format", "markdown").stdout
    assert found["convention"] == bounds
    assert len(set(found["formula"]["sources"])) == 2
    for text in (bounds, found["formula"]["name"], found["formula"]["text"], *found["formula"]["sources"]):
        assert text in markdown
        assert re.sub(r"\s+", "", text) in re.sub(r"\s+", "", table)
    assert set(found["other_conventions"]) == set(BOUNDS) - {bounds}
    other = next(iter(found["other_conventions"]))
    assert document(*asked[:-1], other)["inflation"] == found["other_conventions"][other]
    rows = list(csv.DictReader(io.StringIO(run(*asked, "--format", "csv").stdout)))
    assert [float(row["bound"]) for row in rows] == found["limits"]
    assert table.count("●") == 1
    assert "●" not in run(*asked, "--no-curve").stdout
    assert run(*asked, "--format", "svg", "--out", str(tmp_path / "looks.svg")).exit_code == 0
    line = next(each for each in ElementTree.parse(tmp_path / "looks.svg").getroot() if each.tag.endswith("polyline"))
    assert len(line.attrib["points"].split()) == len(found["curve"])
    at = next(power for share, power in found["curve"] if share >= found["inflation"])
    assert at == pytest.approx(found["power"], abs=0.05)


def test_what_is_left_open_is_solved_for():
    n = str(document(*PROPORTION)["n"])
    assert document(*PROPORTION, "--n", n)["power"] == pytest.approx(0.8, abs=1e-9)
    found = document("proportion", "--baseline", "0.2", "--n", n)
    assert (found["solved"], found["effect"]) == ("effect", pytest.approx(0.05, rel=1e-6))
    found = document("proportion", "--baseline", "0.2", "--n", n, "--down")
    assert found["effect"] == pytest.approx(-0.0457, abs=0.0001)
    weeks = ("--traffic", "500", "--weeks", "4")
    assert document("proportion", "--baseline", "0.2", *weeks)["n"] == pytest.approx(1000)
    reached = DESIGNS["proportion"](baseline=0.2).power(1000, 0.05)
    assert document(*PROPORTION, *weeks, "--solve-for", "power")["power"] == pytest.approx(reached, abs=1e-12)
    assert document(*PROPORTION, "--traffic", "500", "--solve-for", "duration")["weeks"] == 5


def test_absolute_and_relative_effects_are_one_question():
    assert document("proportion", "--baseline", "0.2", "--relative", "0.25")["n"] == document(*PROPORTION)["n"]
    lifted = ("lift", "--mean", "2", "--sd", "3")
    assert document(*lifted, "--absolute", "0.1")["n"] == document(*lifted, "--relative", "0.05")["n"]
    found = document("crossover", "--cv", "0.3", "--relative", "0.25")
    assert found["relative_effect"] == pytest.approx(0.25)
    ratio = ("ratio", "--mean", "0.5", "--sd", "0.9", "--mean2", "2", "--sd2", "1", "--covariance", "0.2")
    assert document(*ratio, "--relative", "0.1")["effect"] == pytest.approx(0.025)


def test_surroundings_are_told_in_every_form():
    around = ("--arms", "3", "--icc", "0.01", "--cluster-size", "4", "--r-squared", "0.2", "--looks", "3",
              "--guardrails", "2", "--success-metric", "--traffic", "900")  # fmt: skip
    found = document(*PROPORTION, *around)
    assert found["alpha"] == pytest.approx(0.025)
    assert found["variance_factor"] == pytest.approx(1.03 * 0.8)
    assert found["power"] == pytest.approx(1 - 0.2 / 3)
    assert found["inflation"] > 1.005
    assert found["by_week"][0][:2] == [1, 900]
    text = run(*PROPORTION, *around).stdout
    for words in (
        "each of 3 arms",
        "2 comparisons (bonferroni)",
        "lan-demets-obrien-fleming",
        "2 guardrails",
        "whole weeks",
    ):
        assert words in text


def test_looks_print_their_bounds_with_an_infinite_one_as_null():
    found = json.loads(run("looks", "--at", "0.002,0.5,1", "--json").stdout)
    assert found["limits"][0] is None
    assert found["spent"][-1] == pytest.approx(0.025)
    assert "∞" in run("looks", "--at", "0.002,0.5,1").stdout


def test_it_can_be_written_to_a_file_and_a_bad_place_is_refused(tmp_path: Path):
    assert run(*PROPORTION, "--format", "svg", "--out", str(tmp_path / "curve.svg")).stdout == ""
    assert (tmp_path / "curve.svg").read_text().startswith("<svg")
    refused = run(*PROPORTION, "--out", str(tmp_path / "none" / "curve.svg"))
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("proportion", "--baseline", "0.2"), "say the effect (--absolute or --relative), or --n"),
        (("proportion", "--baseline", "0.2", "--solve-for", "n"), "--absolute or --relative"),
        ((*PROPORTION, "--relative", "0.1"), "say the effect once"),
        (("proportion", "--baseline", "1.2", "--absolute", "0.05"), "between 0 and 1"),
        (("proportion", "--baseline", "0.2", "--absolute", "0.9"), "outside 0 to 1"),
        (("proportion", "--baseline", "0.2", "--absolute", "0"), "no number of observations"),
        (("mean", "--sd", "3", "--relative", "0.1"), "needs --mean"),
        (("mcnemar", "--discordant", "0.1", "--relative", "0.1"), "no baseline"),
        (("mean", "--sd", "-3", "--absolute", "0.1"), "positive"),
        (("mean", "--sd", "3", "--absolute", "nan"), "must be a number"),
        ((*PROPORTION, "--power", "1.2"), "power must lie"),
        ((*PROPORTION, "--sides", "3"), "side"),
        ((*PROPORTION, "--weeks", "3"), "--weeks needs --traffic"),
        ((*PROPORTION, "--solve-for", "duration"), "a duration needs --traffic"),
        (
            (*PROPORTION, "--traffic", "500", "--weeks", "3"),
            "this needs 5 weeks, and there are 3; they find an effect of",
        ),
        ((*PROPORTION, "--traffic", "-5"), "positive"),
        ((*PROPORTION, "--looks", "0"), "from 1 to 200 looks"),
        ((*PROPORTION, "--convention", "exact", "--r-squared", "0.3"), "normal convention"),
        ((*PROPORTION, "--r-squared", "1"), "R² lies"),
        (("tost-mean", "--sd", "1", "--truth", "2", "--absolute", "1"), "no number of observations"),
        ((*PROPORTION, "--n", "inf"), "--n must be a number between"),
        (("mean", "--sd", "1e300", "--absolute", "1"), "--sd must be a number between"),
        (("mean", "--sd", "1", "--mean", "nan", "--absolute", "1"), "--mean must be a number between"),
        (("mean", "--sd", "1", "--absolute", "1", "--n", "1e19"), "at most 1e+18"),
        (("lift", "--mean", "1e-99", "--sd", "1", "--absolute", "1e99"), "too far apart"),
        ((*PROPORTION, "--icc", "0.1", "--cluster-size", "5", "--cluster-cv", "1e200"), "--cluster-cv must be"),
        (
            ("noninferiority-proportion", "--baseline", "0.1", "--n", "800", "--power", "0.05", "--looks", "3"),
            "no more than the error",
        ),
        (("looks",), "say --looks or --at"),
        (("looks", "--looks", "0"), "look"),
        (("looks", "--at", "0.5,0.4"), "ascend"),
        (("looks", "--at", "0.5,x"), "could not convert"),
    ],
)
def test_an_impossible_question_exits_2_with_one_line_that_says_why(arguments, said):
    refused = run(*arguments)
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.startswith("error: ")
    assert len(refused.stderr.splitlines()) == 1
    assert said in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("traffic", [401, 777, 900])
@pytest.mark.parametrize("ratio", ["1", "0.37"])
def test_the_effect_that_too_few_weeks_find_is_found_in_them(traffic, ratio):
    asked = ("proportion", "--baseline", "0.2", "--ratio", ratio, "--traffic", str(traffic), "--weeks", "2")
    refused = run(*asked, "--absolute", "0.02")
    assert refused.exit_code == 2
    effect = re.search(r"they find an effect of ([\d.]+)$", refused.stderr.strip())
    assert effect is not None, refused.stderr
    assert document(*asked, "--absolute", effect.group(1))["weeks"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("noninferiority-mean", "--sd", "0.8", "--ratio", "0.2", "--n", "5000", "--convention", "welch"),
        ("tost-mean", "--sd", "0.2", "--absolute", "0.2", "--cluster-size", "5000"),
        ("crossover", "--cv", "0.2", "--relative", "5000"),
        ("crossover-noninferiority", "--cv", "0.2", "--relative", "1e18"),
        ("one-mean", "--sd", "1", "--absolute", "1000", "--cluster-size", "37"),
    ],
)
@pytest.mark.parametrize("form", ["table", "json", "svg"])
def test_degrees_of_freedom_far_below_one_have_a_power(arguments, form):
    answered = run(*arguments, "--format", form)
    assert answered.exit_code == 0, answered.output
    assert "nan" not in answered.stdout


def test_the_commands_of_the_documentation_run():
    page = (Path(__file__).parents[2] / "docs" / "power.md").read_text()
    commands = re.findall(r"^    understudy power (.*?)\s+# (.*)$", page, re.MULTILINE)
    assert len(commands) >= 5
    for arguments, said in commands:
        result = run(*arguments.split())
        assert (result.exit_code == 2) == said.startswith("refused"), (arguments, result.output)
    assert run(*commands[0][0].split()).stdout.startswith(commands[0][1])


def test_a_correlation_is_what_it_makes_of_the_variance():
    # σ_d = σ√(2(1 − ρ)): 10√(2 × .32) = 8.
    pairs = document("one-mean", "--sd", "10", "--correlation", "0.68", "--absolute", "2")
    assert pairs["n"] == pytest.approx(document("one-mean", "--sd", "8", "--absolute", "2")["n"], rel=1e-9)
    mean = ("mean", "--sd", "12", "--absolute", "0.8")
    by_covariate = document(*mean, "--correlation", "-0.6")
    assert by_covariate["n"] == pytest.approx(document(*mean, "--r-squared", "0.36")["n"], rel=1e-12)
    both = run(*mean, "--correlation", "0.6", "--r-squared", "0.3")
    assert (both.exit_code, "not both" in both.stderr) == (2, True)
    assert "lies between −1 and 1" in run(*mean, "--correlation", "1").stderr
