"""`understudy plan margins`: numbers that can be checked by hand, reasons, and a text that a plan can hold."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from click.testing import CliRunner

from analysis.adapters import ranked_list
from analysis.margins import MarginError, excluded_by, variation
from analysis.margins_text import down, margins, to_yaml, up
from analysis.measures import GUARDRAILS, MEASURES
from analysis.plan import parse_plan
from analysis.planning_cli import plan
from shadow.contracts import ARM_ERROR
from tests.analysis.pair_logs import (
    CATALOGUE,
    DAY_US,
    HEAD,
    ITEMS,
    POPULAR,
    START_US,
    TripleReader,
    World,
    answer,
    record,
    simulated,
    write_log,
)

WEEK_US = 7 * DAY_US
TAIL_LIST = ("i100", "i101")
HEADER = "schema_version: 1\nname: next\nblock_hours: 6\ndeadline_ms: 2000\n"


def read(records):
    return TripleReader(ranked_list, CATALOGUE).read(records)


def weeks(*levels, **others):
    """A control's records: in each week user 0, 1, … asks once and gets what `levels[week][user]` says of it."""
    rows, number = [], 0
    for week, people in enumerate(levels):
        for user, kind in enumerate(people):
            given = {"primary": answer(kind)} if isinstance(kind, tuple) else kind
            # The first request opens the first week; the last one of any week is on its last day.
            at = START_US + week * WEEK_US + (WEEK_US - DAY_US) * user // max(len(people) - 1, 1)
            rows.append(record(number, arm="control", unit=f"u{user}", event_us=at, **(given | others)))
            number += 1
    return read(rows)


def slow(milliseconds):
    return {"arm_answer": answer(upstream_us=1000 * milliseconds)}


def test_where_all_users_move_alike_the_margin_is_the_root_mean_square_of_the_changes():
    found = variation(weeks([TAIL_LIST] * 3, [POPULAR] * 3, [TAIL_LIST] * 3, [TAIL_LIST] * 3), "long_tail_share", 2000)
    assert found.levels == (1.0, 0.0, 1.0, 1.0)
    assert found.changes == (-1.0, 1.0, 0.0)
    assert found.seen == found.own == pytest.approx((2 / 3) ** 0.5)


def test_what_users_drawn_by_chance_make_is_taken_off():
    # Week 1: one of two users has all of the tail, so ±1/4 each; week 2: none. The change is −1/2, its variance by
    # users (1/16 + 1/16) × 2/1 = 1/4: chance alone would do as much.
    found = variation(weeks([TAIL_LIST, POPULAR], [POPULAR] * 2, [POPULAR] * 2), "long_tail_share", 2000)
    assert found.levels == (0.5, 0.0, 0.0)
    assert found.chance == pytest.approx((0.25, 0.0))
    assert found.seen == pytest.approx(0.125**0.5)
    assert found.own == 0


def test_who_comes_in_both_weeks_counts_once_so_users_that_differ_but_do_not_move_are_no_chance():
    found = variation(weeks(*[[TAIL_LIST, POPULAR, TAIL_LIST]] * 3), "long_tail_share", 2000)
    assert found.levels == pytest.approx((2 / 3,) * 3)
    assert found.chance == pytest.approx((0.0, 0.0))


def test_latencies_and_errors_are_the_controls():
    late = variation(weeks([slow(5)] * 2, [slow(7)] * 2, [slow(4)] * 2), "latency_p95", 2000)
    assert late.levels == (5.0, 7.0, 4.0)
    assert late.own == pytest.approx((13 / 2) ** 0.5)
    failed = {"outcome": ARM_ERROR}
    wrong = variation(weeks([failed, {}, {}, {}], [{}] * 4, [failed, failed, {}, {}]), "errors", 2000)
    assert wrong.levels == (0.25, 0.0, 0.5)


def test_a_trend_over_the_weeks_is_no_wider_than_its_steps():
    # Levels 0, 1/2, 1: their standard deviation is 1/2 too, but over ten weeks it would be three steps.
    half = (*TAIL_LIST, *POPULAR[:2])
    found = variation(weeks([POPULAR] * 2, [half] * 2, [TAIL_LIST] * 2), "long_tail_share", 2000)
    assert found.own == pytest.approx(0.5)


def test_weeks_that_are_not_whole_do_not_count_and_two_are_too_few():
    records = [record(n, arm="control", unit=f"u{n}", event_us=START_US + n * 2 * DAY_US) for n in range(12)]
    assert len(variation(read(records), "empty_lists", 2000).levels) == 3
    with pytest.raises(MarginError, match="2 whole weeks in the log, at least 3"):
        variation(read(records[:8]), "empty_lists", 2000)
    with pytest.raises(MarginError, match="0 whole weeks"):
        variation(read([]), "empty_lists", 2000)


def test_a_week_without_a_judged_request_is_named():
    cancelled = {"outcome": "client_cancelled"}
    with pytest.raises(MarginError, match="latency_p95: week 2 has no request"):
        variation(weeks([{}] * 2, [cancelled] * 2, [{}] * 2), "latency_p95", 2000)


def test_a_rate_of_nothing_gets_what_the_users_of_the_trial_exclude():
    triples = weeks(*[[POPULAR] * 60] * 3)
    assert excluded_by(60, 0.05) == pytest.approx(0.0487, abs=1e-4)
    (own,) = margins(triples, ["empty_lists"], deadline_ms=2000, alpha=0.05)
    assert own.margin == 0.049
    assert "0.0490 is the least that 60 effective users exclude" in own.reason
    (trial,) = margins(triples, ["empty_lists"], deadline_ms=2000, alpha=0.05, users=300)
    assert trial.margin == 0.01


def test_so_few_users_that_nothing_is_excluded_make_no_margin():
    (own,) = margins(weeks(*[[POPULAR] * 60] * 3), ["empty_lists"], deadline_ms=2000, alpha=0.05, users=1)
    assert own.margin == 0.95
    (rare,) = margins(weeks(*[[POPULAR] * 60] * 3), ["empty_lists"], deadline_ms=2000, alpha=1e-6, users=1)
    assert (rare.margin, "exclude nothing" in rare.reason) == (None, True)


def test_of_errors_who_asks_often_counts_for_few():
    # One user asks 4 times a week, 4 ask once: 24² / (12² + 4 × 3²) = 3.2 effective users.
    rows, number = [], 0
    for week in range(3):
        for user in (0, 0, 0, 0, 1, 2, 3, 4):
            at = START_US + week * WEEK_US + (WEEK_US - DAY_US) * (user == 4)
            rows.append(record(number, arm="control", unit=f"u{user}", event_us=at))
            number += 1
    found = {
        each.name: each.margin for each in margins(read(rows), ["errors", "empty_lists"], deadline_ms=2000, alpha=0.05)
    }
    assert found["errors"] == up(1 - 0.05 ** (1 / 3.2))
    assert found["empty_lists"] == up(1 - 0.05 ** (1 / 5))


def test_two_digits_never_more_than_was_seen_never_less_than_can_be_excluded():
    assert [down(each) for each in (0.006789, 0.0068, 12.99, 0.0)] == [0.0067, 0.0068, 12.0, 0.0]
    assert [up(each) for each in (0.00261, 0.0026, 0.951)] == [0.0027, 0.0026, 0.96]


def test_what_has_no_margin_is_told_as_a_comment_and_stays_described():
    triples = weeks(*[[POPULAR] * 5] * 3)
    names = ["novelty", "latency_mean", "long_tail_share", "empty_lists"]
    text = to_yaml(margins(triples, names, deadline_ms=2000, alpha=0.05))
    assert "  # novelty: it has no harmful direction" in text
    assert "  # latency_mean: it compares two arms on each request" in text
    assert "  # long_tail_share: The champion's own" in text
    rules = parse_plan((HEADER + text).encode())
    assert {each.name for each in rules.metrics if each.role == "guardrail"} == {"empty_lists"}
    with pytest.raises(MarginError, match="novelty: it has no harmful direction"):
        to_yaml(margins(triples, ["novelty"], deadline_ms=2000, alpha=0.05))


def test_without_a_control_what_is_about_it_has_no_margin():
    found = margins(read([record(0)]), ["errors", "latency_p95"], deadline_ms=2000, alpha=0.05)
    assert {each.reason for each in found} == {"the log has no control, which it is about: deploy one"}


def catalogue(directory: Path) -> Path:
    table = {
        "item_id": [f"i{number}" for number in range(ITEMS)],
        "tail": [number >= HEAD for number in range(ITEMS)],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), directory / "catalogue.parquet")
    return directory / "catalogue.parquet"


def run(*arguments: object):
    return CliRunner().invoke(plan, ["margins", *map(str, arguments)])


def test_the_command_prints_the_metrics_of_a_plan_with_the_default_guardrails(tmp_path):
    records = [each for each in simulated(World(users=60)) if each.arm == "control"]
    log = write_log(tmp_path / "pairs", _renumbered(records))
    done = run(log, "--catalogue", catalogue(tmp_path), "--processes", 1)
    assert done.exit_code == 0, done.output
    rules = parse_plan((HEADER + done.stdout).encode())
    assert {each.name for each in rules.metrics} == set(MEASURES)
    guardrails = {each.name for each in rules.metrics if each.role == "guardrail"}
    told = {name for name in GUARDRAILS if f"# {name}: " not in done.stdout}
    assert guardrails == told >= {"errors", "empty_lists", "unknown_items"}
    assert all("week-to-week variation" in each["reason"] for each in yaml.safe_load(done.stdout)["metrics"]
               if each["role"] == "guardrail")  # fmt: skip


def test_a_metric_named_twice_is_one_guardrail(tmp_path):
    log = write_log(tmp_path / "pairs", _renumbered(e for e in simulated(World(users=60)) if e.arm == "control"))
    twice = ("--metric", "empty_lists", "--metric", "empty_lists")
    done = run(log, "--catalogue", catalogue(tmp_path), "--processes", 1, *twice)
    assert len(parse_plan((HEADER + done.stdout).encode()).metrics) == len(MEASURES)


def _renumbered(records):
    import msgspec

    return [msgspec.structs.replace(each, sequence=number) for number, each in enumerate(records)]


def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path):
    log = write_log(tmp_path / "pairs", [record(0, arm="control")])
    done = run(log, "--catalogue", catalogue(tmp_path), "--processes", 1)
    assert (done.exit_code, "0 whole weeks in the log" in done.stderr) == (2, True)
    done = run(log, "--catalogue", catalogue(tmp_path), "--metric", "empty_list")
    assert (done.exit_code, "did you mean 'empty_lists'?" in done.stderr) == (2, True)
    for option in ("--alpha", "--deadline-ms"):
        done = run(log, "--catalogue", catalogue(tmp_path), option, "nan")
        assert (done.exit_code, f"{option} must be a number" in done.stderr) == (2, True)
    done = run(tmp_path / "nowhere", "--catalogue", catalogue(tmp_path))
    assert done.exit_code == 2
