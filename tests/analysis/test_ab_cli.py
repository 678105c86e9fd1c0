"""`understudy ab analyze` on a CSV: sample ratio first, success, guardrails, days, segments, looks, refusals."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from scipy import stats
from scipy.special import ndtr

from analysis.ab import of_ratio, part
from analysis.ab_cli import SHOWN, ab
from analysis.ab_data import by_user, read_rows
from analysis.looks import LAN_DEMETS_OBRIEN_FLEMING, looks
from analysis.planning_cli import plan

COLUMNS = ("user", "arm", "day", "device", "before", "clicks", "requests", "errors")
BASE = ("--arm", "arm", "--control", "A")
RATIO = ("--success", "name=clicks_per_request,numerator=clicks,denominator=requests")


def write(
    path: Path, users: int = 3000, lift: float = 0.1, harm: float = 0.0, seed: int = 1, lost: float = 0.0
) -> Path:
    """An experiment of two arms, a row for each user and day: clicks of requests, errors, and clicks from before."""
    rng = np.random.default_rng(1)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for user in range(users):
            arm = "AB"[user % 2]
            if arm == "B" and rng.random() < lost:
                continue
            taste = rng.gamma(4.0, 0.05)
            before = rng.poisson(20 * taste)
            for day in ("mon", "tue"):
                requests = int(rng.poisson(5)) + 1
                clicks = rng.binomial(requests, min(0.9, taste * (1 + lift * (arm == "B"))))
                errors = rng.binomial(requests, 0.01 + harm * (arm == "B"))
                rows.writerow([user, arm, day, ("web", "app")[user % 3 == 0], before, clicks, requests, errors])
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("ab") / "users.csv")


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(ab, ["analyze", str(path), *BASE, *arguments])


def document(path: Path, *arguments: str) -> dict:
    result = run(path, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_effects_are_those_of_users_added_up_by_hand(data):
    sums: dict[str, list[float]] = {}
    for row in csv.DictReader(data.read_text().splitlines()):
        user = sums.setdefault(row["user"], [row["arm"] == "B", 0.0, 0.0])
        user[1] += float(row["clicks"])
        user[2] += float(row["requests"])
    users = np.array(list(sums.values()))
    arms = [users[users[:, 0] == arm] for arm in (0, 1)]
    found = document(data, *RATIO, "--success", "clicks")["metrics"]
    by_name = {line["metric"]: line for line in found}
    theirs = stats.ttest_ind(arms[1][:, 1], arms[0][:, 1], equal_var=False)
    assert by_name["clicks"]["p"] == pytest.approx(theirs.pvalue, rel=1e-9)
    parts = [part(of_ratio(arm[:, 1], arm[:, 2])) for arm in arms]
    assert by_name["clicks_per_request"]["absolute"] == pytest.approx(parts[1].mean - parts[0].mean, rel=1e-12)
    assert sorted(line["adjusted_p"] for line in found)[0] == pytest.approx(2 * min(line["p"] for line in found))
    assert by_name["clicks_per_request"]["users"] == [1500, 1500]


def test_covariates_and_strata_narrow_the_interval_around_the_same_effect(data):
    plain = document(data, *RATIO)["metrics"][0]
    better = document(data, *RATIO, "--covariate", "before")["metrics"][0]
    assert better["standard_error"] < 0.95 * plain["standard_error"]
    assert better["r_squared"] == pytest.approx(1 - (better["standard_error"] / plain["standard_error"]) ** 2, abs=0.02)
    assert abs(better["absolute"] - plain["absolute"]) < 3 * plain["standard_error"]
    strata = document(data, *RATIO, "--strata", "device")["metrics"][0]
    assert strata["absolute"] == pytest.approx(plain["absolute"], abs=plain["standard_error"] / 3)


def test_a_mismatched_sample_ratio_is_all_that_is_said(tmp_path):
    lost = write(tmp_path / "lost.csv", lost=0.15)
    result = run(lost, *RATIO)
    assert result.exit_code == 4
    assert result.stdout.startswith("Sample ratio mismatch (p = ")
    assert "clicks_per_request" not in result.stdout
    assert json.loads(run(lost, *RATIO, "--json").stdout)["metrics"] == []
    assert run(lost, *RATIO, "--share", "1", "--share", "0.85").exit_code == 0


def test_guardrails_pass_by_their_margin_and_harm_is_named(tmp_path, data):
    guard = ("--guardrail", "name=errors,margin=0.05,harm=higher")
    found = document(data, *RATIO, *guard)
    line = found["metrics"][1]
    assert (line["decision"], line["role"]) == ("passes", "guardrail")
    assert line["harm_bound"] == pytest.approx(line["high"])
    assert found["verdict"] == "clicks_per_request wins; every guardrail passes."
    tight = document(data, *RATIO, "--guardrail", "name=errors,margin=0.0001,harm=higher")
    assert tight["metrics"][1]["decision"] == "not shown"
    assert "not shown to be safe: errors" in tight["verdict"]
    harmed = document(write(tmp_path / "harm.csv", harm=0.03), *RATIO, *guard)
    assert "harm is shown by errors" in harmed["verdict"]
    relative = document(data, *RATIO, "--guardrail", "name=errors,relative=0.5,harm=higher")["metrics"][1]
    assert relative["margin"] == pytest.approx(0.5 * relative["control"])


def test_days_and_segments_are_told_apart_and_corrected(data):
    found = document(data, *RATIO, "--day", "day", "--segment", "device")
    assert [line["where"] for line in found["days"]] == ["mon", "tue"]
    assert [line["where"] for line in found["segments"]] == ["device=app", "device=web"]
    assert all(line["adjusted_p"] >= line["p"] for line in found["segments"])
    assert sum(line["users"][0] for line in found["segments"]) == 1500
    assert all(line["decision"] == "" for line in [*found["days"], *found["segments"]])


def test_a_look_is_judged_by_its_bound(data):
    found = document(data, *RATIO, "--at", "0.25,0.5")
    level = 2 * looks((0.25, 0.5), 0.05, LAN_DEMETS_OBRIEN_FLEMING, sides=2).nominal[-1]
    assert found["level"] == pytest.approx(level)
    assert found["metrics"][0]["adjusted_p"] is None
    plain = document(data, *RATIO)["metrics"][0]
    assert found["metrics"][0]["high"] > plain["high"]


def test_every_form_says_the_same(data):
    arguments = (*RATIO, "--guardrail", "name=errors,margin=0.05,harm=higher", "--segment", "device")
    said = document(data, *arguments)["verdict"]
    assert run(data, *arguments).stdout.splitlines()[0] == said
    markdown = run(data, *arguments, "--format", "markdown").stdout
    assert markdown.startswith(f"**{said}**")
    assert "clicks_per_request (device=web)" in markdown


def test_a_plan_of_plan_new_names_what_is_judged(tmp_path, data):
    made = CliRunner().invoke(plan, shlex.split(
        "new --template ab --name x --hypothesis x --traffic 60000 --success name=clicks,sd=2,absolute=0.1 "
        f"--guardrail name=errors,sd=0.4,absolute=0.05,harm=higher,reason=x --alpha 0.1 --out {tmp_path}"
    ))  # fmt: skip
    assert made.exit_code == 0, made.output
    found = document(data, "--plan", str(tmp_path / "plan.yaml"))
    assert [(line["metric"], line["role"]) for line in found["metrics"]] == [
        ("clicks", "success"),
        ("errors", "guardrail"),
    ]
    assert found["level"] == pytest.approx(0.1)
    assert found["metrics"][1]["margin"] == 0.05


def planned(tmp_path: Path, *options: str) -> tuple[str, str]:
    made = CliRunner().invoke(plan, [*shlex.split(
        "new --template ab --name x --hypothesis x --traffic 60000 --success name=clicks,sd=2,absolute=0.1"
    ), *options, "--out", str(tmp_path)])  # fmt: skip
    assert made.exit_code == 0, made.output
    return "--plan", str(tmp_path / "plan.yaml")


@pytest.mark.parametrize("spending", ["pocock", "obrien-fleming", "lan-demets-pocock"])
def test_a_look_of_a_plan_is_judged_by_the_plans_own_bound(tmp_path, data, spending):
    judged_by = planned(tmp_path, "--looks", "3", "--spending", spending)
    limits = yaml.safe_load((tmp_path / "plan.yaml").read_bytes())["looks"]["limits"]
    for number, at in enumerate(("0.3333", "0.3333,0.6667", "0.3333,0.6667,1")):
        level = document(data, *judged_by, "--at", at)["level"]
        assert level == pytest.approx(2 * ndtr(-limits[number]), rel=1e-3)


def test_at_a_look_success_metrics_share_alpha(data):
    level = document(data, *RATIO, "--success", "clicks", "--at", "0.5")["level"]
    assert level == pytest.approx(2 * looks((0.5,), 0.025, LAN_DEMETS_OBRIEN_FLEMING, sides=2).nominal[-1], rel=1e-9)


def test_the_commands_of_a_plan_analyse_each_look(tmp_path, data):
    planned(tmp_path, "--looks", "2", "--spending", "pocock")
    lines = re.findall(r"^    understudy ab (.*)$", (tmp_path / "plan.md").read_text(), re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        done = CliRunner().invoke(ab, [*shlex.split(line.replace("DATA", str(data))), "--control", "A"])
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("options", "arguments", "said"),
    [
        (("--looks", "3"), (), "the plan has looks at 0.3333, 0.6667, 1: say those so far, --at 0.3333 at the first"),
        (
            ("--looks", "3"),
            ("--at", "0.3333", "--spending", "pocock"),
            "the plan's bounds are lan-demets-obrien-fleming",
        ),
        (("--looks", "3", "--spending", "pocock"), ("--at", "0.5"), "its looks are 0.3333, 0.6667, 1"),
        (("--looks", "3", "--spending", "pocock"), ("--at", "0.3333,0.6667,0.8,1"), "its looks are 0.3333, 0.6667, 1"),
        ((), ("--at", "0.5"), "the plan has one look, when all weeks are over"),
    ],
)
def test_a_look_that_the_plan_does_not_have_is_refused(tmp_path, data, options, arguments, said):
    refused = run(data, *planned(tmp_path, *options), *arguments)
    assert refused.exit_code == 2, refused.output
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_arms_that_the_plan_does_not_have_are_refused(tmp_path, data):
    refused = run(data, *planned(tmp_path, "--arms", "3"))
    assert refused.exit_code == 4
    assert "2 arms are in the data, 3" in refused.stderr


def test_a_user_in_two_arms_is_left_out_and_counted():
    lines = ["user,arm,x", "a,A,1", "a,A,2", "b,B,5", "c,A,7", "c,B,7", "d,B,1"]
    rows = read_rows(lines, "user", "arm", "A", ["x"], [])
    assert rows.crossed == 1
    users = by_user(rows, ["x"])
    assert users.sums["x"].tolist() == [3.0, 5.0, 1.0]
    assert users.arms.tolist() == [0, 1, 1]
    assert users.covariates[:, 0].tolist() == [1.5, 5.0, 1.0]


def test_the_example_in_the_help_prints_what_the_help_shows(data, monkeypatch):
    monkeypatch.chdir(data.parent)
    shown_help = CliRunner().invoke(ab, ["analyze", "--help"]).output
    example = re.search(r"\$ understudy ab (.*?)\n +(clicks_per_request .*)\n", shown_help, re.DOTALL)
    assert example is not None
    printed = CliRunner().invoke(ab, shlex.split(example.group(1).replace("\\\n", " ")))
    assert printed.exit_code == 0, printed.output
    assert printed.stdout.splitlines()[: len(SHOWN)] == list(SHOWN) == [example.group(2)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--success, or --plan"),
        (("--success", "name=x,colour=red"), 2, "unknown key colour"),
        (("--success", "numerator=x"), 2, "no name="),
        ((*RATIO, "--guardrail", "errors"), 2, "needs margin="),
        ((*RATIO, "--guardrail", "name=errors,margin=-1"), 2, "a margin is positive"),
        ((*RATIO, "--guardrail", "name=errors,margin=1,harm=up"), 2, "lower or higher"),
        ((*RATIO, "--at", "0.5,0.4"), 2, "ascend"),
        ((*RATIO, "--alpha", "0.7"), 2, "no error of a test"),
        ((*RATIO, "--plan", "none.yaml"), 2, "none.yaml"),
        (("--success", "money"), 4, "no column 'money'"),
        (("--success", "device"), 4, "which is no number"),
        ((*RATIO, "--control", "C"), 4, "the arms are A, B"),
        ((*RATIO, "--share", "1"), 4, "2 arms are in the data"),
        ((*RATIO, "--share", "0.5", "--share", "nan"), 4, "positive share"),
        ((*RATIO, "--share", "0.5", "--share", "inf"), 4, "positive share"),
        ((*RATIO, "--crossed-limit", "nan"), 2, "--crossed-limit lies between 0 and 1"),
    ],
)
def test_what_cannot_be_analysed_is_one_line_and_its_exit_code(data, arguments, code, said):
    refused = run(data, *arguments)
    assert refused.exit_code == code, refused.output
    assert refused.stderr.startswith("error: ")
    assert len(refused.stderr.splitlines()) == 1
    assert said in refused.stderr


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((",A,1", ",B,2", "3,A,1", "4,B,2", "5,A,3", "6,B,3"), "row 1: user is empty"),
        (("1,A,1", "2,,2", "3,A,1", "4,B,2", "5,A,3", "6,B,3"), "row 2: arm is empty"),
        (("1,A,1e308", "2,A,1e308", "3,B,1", "4,B,2"), "too large"),
        (("1,A,1e200", "2,A,1e10", "3,B,1", "4,B,2"), "too large"),
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_rows_without_user_or_arm_and_values_without_a_mean_are_refused(tmp_path, lines, said, form):
    (tmp_path / "data.csv").write_text("\n".join(["user,arm,x", *lines]))
    refused = run(tmp_path / "data.csv", "--success", "x", "--crossed-limit", "1", "--format", form)
    assert refused.exit_code == 4, refused.output
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_missing_or_empty_file_is_said(tmp_path):
    assert run(tmp_path / "none.csv", *RATIO).exit_code == 2
    (tmp_path / "empty.csv").write_text("")
    assert "no column 'user'; there are none" in run(tmp_path / "empty.csv", *RATIO).stderr
    (tmp_path / "head.csv").write_text(",".join(COLUMNS) + "\n")
    assert "there is no row" in run(tmp_path / "head.csv", *RATIO).stderr
