"""The gate from end to end as a truth table: a log of a kind → verdict, exit code, one reason, one line of error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from analysis.cli import gate
from analysis.termination import MOST_BYTES, failure, message
from shadow.contracts import PairRecord
from tests.analysis.pair_logs import HEAD, ITEMS, START_US, World, answer, record, simulated, write_log
from tests.analysis.report.samples import NAMES, results
from tests.analysis.test_gate import ALL, metric

HOUR_US = 3_600_000_000
MARGINS = {"long_tail_share": 0.01, "empty_lists": 0.01, "errors": 0.01, "latency_p95": 5.0, "overlap_at_10": 0.0}
PLAN = {
    "schema_version": 1,
    "name": "table",
    "block_hours": 6,
    "deadline_ms": 2000,
    "metrics": [metric(name, margin=MARGINS[name]) for name in ALL],
}
LISTS = {"metrics": [metric("long_tail_share", margin=0.01), metric("empty_lists", margin=0.01)]}
"""A plan that needs no control."""
RELATIVE = {"metrics": [metric("latency_p95", "relative", margin=0.1), metric("errors")]}
LABELS = {"adapter": "label", "metrics": [metric("unknown_items", "share") | {"comparison": "shadow - primary"}]}
LOOKS = {"looks": [200, 500, 900], "metrics": [metric("long_tail_share", margin=0.02)]}


def fine() -> Iterator[PairRecord]:
    return simulated(World(users=1200))


def world(**changes: float) -> Callable[[], Iterator[PairRecord]]:
    return lambda: simulated(World(**({"users": 1200} | changes)))


def only(arm: str) -> Callable[[], Iterator[PairRecord]]:
    return lambda: (
        msgspec.structs.replace(each, sequence=number)
        for number, each in enumerate(each for each in fine() if each.arm == arm)
    )


def constant() -> Iterator[PairRecord]:
    """Every answer the same to the microsecond: no list varies, no latency does."""
    for number in range(800):
        user = number // 2
        base = {"request_id": f"r{number}", "unit": f"u{user}", "bucket": user * 2500}
        base["event_us"] = START_US + user * HOUR_US + number % 2
        yield record(2 * number, **base)
        yield record(2 * number + 1, arm="control", **base)


def opposite() -> Iterator[PairRecord]:
    """Users and blocks cancel in the two-way variance: two equal and opposite requests in each user and each block."""
    for user in range(400):
        for side in range(2):
            base = {"request_id": f"r{user}-{side}", "unit": f"u{user}", "bucket": user * 2500}
            base["event_us"] = START_US + ((user + side) % 400) * 6 * HOUR_US
            base["primary"] = answer([f"i{HEAD}" if slot < side else f"i{slot}" for slot in range(10)], "hybrid")
            shown = [f"i{HEAD}" if slot < 1 - side else f"i{slot}" for slot in range(10)]
            yield record(4 * user + 2 * side, arm_answer=answer(shown, "hybrid"), **base)
            yield record(4 * user + 2 * side + 1, arm="control", arm_answer=base["primary"], **base)


def unreadable() -> Iterator[PairRecord]:
    for number in range(50):
        yield record(number, primary=answer(status=500), arm="shadow" if number % 2 else "control")


def nameless() -> Iterator[PairRecord]:
    return (msgspec.structs.replace(each, unit="") for each in fine())


def labels(other: float) -> Callable[[], Iterator[PairRecord]]:
    """A classifier whose shadow gives a label that is not known for this share of requests."""

    def labelled(each: PairRecord) -> PairRecord:
        name = "?" if each.arm == "shadow" and each.bucket < other * 1e6 else "i1"
        sides = zip(("primary", "arm_answer"), (each.primary, each.arm_answer), ("i1", name), strict=True)
        return msgspec.structs.replace(
            each, **{side: msgspec.structs.replace(one, body=json.dumps({"label": text})) for side, one, text in sides}
        )

    return lambda: map(labelled, fine())


def of_next_year() -> Iterator[PairRecord]:
    """One request claims an event time far behind its arrival."""
    for each in fine():
        later = 9000 * HOUR_US if each.request_id == "r7" else 0
        yield msgspec.structs.replace(each, event_time_us=each.event_time_us + later)


def stray() -> Iterator[PairRecord]:
    """All of one hour but for one request weeks later: of two blocks one holds nothing."""
    for each in simulated(World(users=300)):
        late = each.request_id == "r7"
        yield msgspec.structs.replace(each, event_time_us=START_US + (400 * HOUR_US if late else 0))


def beyond_64_bits() -> Iterator[PairRecord]:
    """Every tenth answer of the shadow took longer than a column can hold."""
    for each in fine():
        late = answer(version="challenger:bbbbbbbbbbbb", upstream_us=(1 << 63) - 1, connect_us=9)
        yield msgspec.structs.replace(each, arm_answer=late) if each.sequence % 20 == 0 else each


TABLE = {
    "fine": (fine, {}, 0, "PASS", "is excluded"),
    "much worse lists": (world(fallback=0.3), {}, 1, "HOLD", "long_tail_share: "),
    "slower": (world(slower=3.0), {}, 1, "HOLD", "latency_p95: "),
    "tolerable harm": (
        world(slower=1.1),
        {},
        0,
        "PASS",
        "latency_p95: +1.11 ms, harm beyond the margin of 5.00 ms is excluded",
    ),
    "nothing in it": (lambda: iter(()), {}, 4, "ERROR", "no pair"),
    "no shadow": (only("control"), {}, 4, "ERROR", "no pair of arm 'shadow'"),
    "no control": (only("shadow"), {}, 4, "ERROR", "no pair of arm 'control'"),
    "no control, none needed": (only("shadow"), LISTS, 0, "PASS", "is excluded"),
    "no readable primary": (unreadable, {}, 4, "ERROR", "no request has a readable answer of the primary"),
    "numbers that no column holds": (beyond_64_bits, {}, 3, "INCONCLUSIVE", "lines are no records"),
    "no request names a user": (nameless, {}, 3, "INCONCLUSIVE", "health: named users: "),
    "no request names a user, as planned": (nameless, {"max_without_user": 1}, 0, "PASS", "is excluded"),
    "labels that are the primary's": (labels(0), LABELS, 0, "PASS", "unknown_items: 0.0000"),
    "labels that are not known": (labels(0.05), LABELS, 1, "HOLD", "unknown_items: +0.0"),
    "one request out of the hour": (stray, RELATIVE, 3, "INCONCLUSIVE", "in 2 blocks of 6 h (1.0 effective)"),
    "too few users": (world(users=60), {}, 3, "INCONCLUSIVE", "users and blocks"),
    "too few blocks": (fine, {"block_hours": 72}, 3, "INCONCLUSIVE", "users and blocks"),
    "too short": (fine, {"minimum_hours": 1000}, 3, "INCONCLUSIVE", "expected: at least 1000 hours"),
    "under the size of its plan": (fine, {"minimum_users": 4800}, 3, "INCONCLUSIVE", "expected: at least 4,800 users"),
    "much worse, under the size of its plan": (
        world(fallback=0.3),
        {"minimum_users": 1201},
        3,
        "INCONCLUSIVE",
        "health: size: 1,200 users",
    ),
    "of the size of its plan": (fine, {"minimum_users": 1200}, 0, "PASS", "is excluded"),
    "before the first look": (fine, {"looks": [800, 900]}, 3, "INCONCLUSIVE", "first look is still to come"),
    "before the first look, but for one request that claims it": (
        of_next_year,
        {"looks": [1000, 2000]},
        3,
        "INCONCLUSIVE",
        "first look is still to come",
    ),
    "at the second of three looks": (fine, LOOKS, 0, "PASS", "is excluded"),
    "every call of the shadow failed": (world(shadow_errors=1.0), {}, 1, "HOLD", "harm is shown"),
    "every call of the control failed": (world(control_errors=1.0), {}, 3, "INCONCLUSIVE", "health: control"),
    "no variance at all": (constant, {}, 3, "INCONCLUSIVE", "latency_p95: the percentile sits on a single"),
    "no variance, lists only": (constant, LISTS, 0, "PASS", "is excluded"),
    "two-way variance not positive": (opposite, LISTS, 0, "PASS", "long_tail_share: 0.0000, harm beyond"),
    "another catalogue than the plan's": (fine, {"catalogue": "0" * 64}, 4, "ERROR", "written for a catalogue"),
    "another version than the plan's": (fine, {"bundles": {"shadow": "x:1"}}, 3, "INCONCLUSIVE", "the plan is for x:1"),
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("catalogue") / "catalogue.parquet"
    items = range(ITEMS)
    pq.write_table(pa.table({"item_id": [f"i{n}" for n in items], "tail": [n >= HEAD for n in items]}), path)
    return path


def run(place: Path, catalogue: Path, plan: dict, *others: str, log: Path | None = None):
    (place / "plan.yaml").write_text(yaml.safe_dump(plan))
    options = ["--plan", place / "plan.yaml", "--catalogue", catalogue, "--out", place / "out"]
    options += ["--termination-log", place / "message", *others]
    return CliRunner().invoke(gate, [str(each) for each in (log or place / "log", *options)])


@pytest.mark.parametrize("case", TABLE)
def test_the_truth_table_of_the_gate(case, catalogue, tmp_path):
    records, changes, code, verdict, reason = TABLE[case]
    written = list(records())
    (tmp_path / "log").mkdir()
    if written:
        write_log(tmp_path / "log", written)
    found = run(tmp_path, catalogue, PLAN | changes)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (found.exit_code, report["verdict"]) == (code, verdict), report["reasons"]
    assert any(reason in each for each in report["reasons"]), report["reasons"]
    told = json.loads((tmp_path / "message").read_bytes())
    assert (told["verdict"], told["exit_code"]) == (verdict, code)
    assert len(found.stderr.splitlines()) == (1 if verdict == "ERROR" else 0)
    for metric_result in report["metrics"]:
        if metric_result["decision"] == "pass_with_note":
            assert report["reasons"][0].startswith(metric_result["name"])


def test_a_plan_that_was_changed_after_the_data_came_judges_nothing(catalogue, tmp_path):
    write_log(tmp_path / "log", list(simulated(World(users=300))))
    promised = hashlib.sha256(yaml.safe_dump(PLAN).encode()).hexdigest()
    assert run(tmp_path, catalogue, PLAN, "--plan-sha256", promised).exit_code in (0, 3)
    assert run(tmp_path, catalogue, PLAN, "--plan-sha256", f"sha256:{promised.upper()}").exit_code in (0, 3)
    found = run(tmp_path, catalogue, PLAN | {"alpha": 0.2}, "--plan-sha256", promised)
    assert found.exit_code == 4
    assert found.stderr.startswith("error: the plan was changed")
    assert json.loads((tmp_path / "message").read_bytes())["verdict"] == "ERROR"


def test_a_log_of_a_schema_that_is_not_known_is_an_error(catalogue, tmp_path):
    log = write_log(tmp_path / "log", [msgspec.structs.replace(each, schema_version=999) for each in fine()])
    found = run(tmp_path, catalogue, PLAN, log=log)
    assert found.exit_code == 4
    assert "schema" in found.stderr


def test_a_misspelt_plan_leaves_its_reason_in_the_message_of_the_job(catalogue, tmp_path):
    found = run(tmp_path, catalogue, PLAN | {"alhpa": 0.1})
    assert found.exit_code == 2
    assert "alhpa: there is no such field (did you mean 'alpha'?)" in found.stderr
    told = json.loads((tmp_path / "message").read_bytes())
    assert told["verdict"] == "ERROR"
    assert "did you mean 'alpha'" in told["reasons"][0]


def test_looks_between_two_planned_ones_see_the_same_data_and_say_the_same(catalogue, tmp_path):
    """Running the gate again before the next look is due is no peeking."""
    records = list(fine())
    plan = PLAN | {"looks": [240, 480, 640]}
    found = {}
    for hours in (250, 400):
        log = write_log(tmp_path / f"log{hours}", [e for e in records if e.event_time_us < START_US + hours * HOUR_US])
        run(tmp_path, catalogue, plan, log=log)
        found[hours] = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found[250]["metrics"] == found[400]["metrics"]
    assert found[250]["window"]["last_event_us"] == found[400]["window"]["last_event_us"]
    assert "look 1 of 3, at 240 hours" in json.dumps(found[400]["health"])


@pytest.mark.parametrize("name", NAMES)
def test_a_message_fits_into_what_kubernetes_keeps_of_it_and_names_its_report(name):
    report = b"{}"
    text = message(results()[name], report, "s3://bucket/report.json")
    told = json.loads(text)
    assert len(text) <= MOST_BYTES
    assert told["report_sha256"] == hashlib.sha256(report).hexdigest()
    assert told["report_url"] == "s3://bucket/report.json"
    assert len(told["reasons"]) + told.get("reasons_left_out", 0) == len(results()[name].reasons)


def test_a_message_with_too_many_and_too_long_reasons_keeps_the_first_ones_whole_in_utf_8():
    crowded = msgspec.structs.replace(results()["pass"], reasons=tuple(f"{n} " + "≥" * 900 for n in range(50)))
    text = message(crowded, b"", "x" * 5000)
    told = json.loads(text)
    assert MOST_BYTES // 2 < len(text) <= MOST_BYTES
    assert told["reasons"][0].startswith("0 ≥≥")
    assert told["reasons"][0].endswith("…")
    assert told["reasons_left_out"] == 50 - len(told["reasons"])
    assert len(failure('"\n' * 9000)) <= MOST_BYTES
