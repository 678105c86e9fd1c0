from __future__ import annotations

import msgspec
import numpy as np
import pytest

from analysis.adapters import ranked_list
from analysis.health import health_checks
from analysis.noise import noise_floor
from analysis.verdict import OK, VETO, WARN
from shadow.log_health import LogHealth
from tests.analysis.pair_logs import START_US, TAIL, TripleReader, World, answer, record, simulated
from tests.analysis.test_gate import metric, plan

PLAN = plan(metric("errors"))


def checks(*records, rules=PLAN, log: LogHealth | None = None):
    reader = TripleReader(ranked_list, TAIL)
    triples = reader.read(records)
    noise = noise_floor(triples, rules.block_us, 0.05) if "control" in triples.arms else None
    return {check.name: check for check in health_checks(triples, reader.tally, log, noise, rules)}


def state(name: str, *records, **others) -> str:
    return checks(*records, **others)[name].state


def flood(users: int = 300, start: int = 0, **others):
    """One request per user and hour, buckets spread evenly."""
    return [
        record(start + n, unit=f"u{n}", event_us=START_US + n * 3_600_000_000, bucket=n * 1_000_000 // users, **others)
        for n in range(users)
    ]


def test_a_healthy_log_is_ok_in_every_check():
    found = checks(*simulated(World(users=1200)))
    assert {name: check.state for name, check in found.items() if check.state != OK} == {}


@pytest.mark.parametrize(("dropped", "expected"), [(0, OK), (1, WARN), (6, WARN), (7, VETO)])
def test_pair_loss_warns_up_to_the_plans_share_and_vetoes_above_it(dropped, expected):
    rows = [*flood(300 - dropped), *flood(dropped, start=1000, outcome="dropped:queue_full")]
    found = checks(*rows)["pair loss: shadow"]
    assert found.state == expected
    assert ("dropped:queue_full" in found.found) == (dropped > 0)


def test_an_answer_the_primary_never_gave_is_loss_but_a_client_mistake_is_not():
    broken = flood(20, start=1000, primary=answer(status=503))
    assert state("pair loss: shadow", *flood(), *broken) == VETO
    mistakes = flood(20, start=1000, primary=answer(status=422), arm_answer=answer(status=422))
    assert state("pair loss: shadow", *flood(), *mistakes) == OK


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (LogHealth(records=1000, complete=True), OK),
        (LogHealth(records=1000, missing=5), WARN),
        (LogHealth(records=1000, missing=50), VETO),
        (LogHealth(records=1000, unknown_schema=50), VETO),
        (LogHealth(records=1000, torn=["x"]), WARN),
        (LogHealth(records=1000, duplicates=3), WARN),
    ],
)
def test_what_the_reader_found_is_passed_on(log, expected):
    found = checks(*flood(), log=log)["log"]
    assert found.state == expected
    for problem in log.problems():
        assert problem in found.found


def test_a_copy_logged_twice_is_counted():
    rows = flood()
    assert state("duplicates", *rows, record(9000, request_id="r1", unit="u1", event_us=rows[1].event_time_us)) == WARN
    again = [msgspec.structs.replace(each, sequence=each.sequence + 1000) for each in rows[:50]]
    assert state("duplicates", *rows, *again) == VETO


@pytest.mark.parametrize(("reached", "expected"), [(1.0, OK), (0.5, VETO), (0.1, VETO)])
def test_a_router_that_mirrored_less_than_the_plan_says_is_found_by_its_buckets(reached, expected):
    rng = np.random.default_rng(1)
    rows = [
        record(n, unit=f"u{n}", bucket=int(rng.integers(0, int(1e6 * reached))), event_us=START_US) for n in range(300)
    ]
    assert state("mirrored fraction: shadow", *rows) == expected


def sampled(fraction: float, drop: float = 0.0):
    """Users below the fraction; `drop` of those in the upper half are missing: a biased sample."""
    rng = np.random.default_rng(2)
    rules = plan(metric("errors"), fractions={"shadow": fraction})
    buckets = [int(bucket) for bucket in rng.integers(0, int(1e6 * fraction), 2000)]
    kept = [bucket for bucket in buckets if bucket < 5e5 * fraction or rng.random() >= drop]
    return [record(n, unit=f"u{n}", bucket=bucket) for n, bucket in enumerate(kept)], rules


def test_a_fair_sample_of_users_is_accepted_and_a_biased_one_vetoes():
    rows, rules = sampled(0.3)
    assert state("sample ratio: shadow", *rows, rules=rules) == OK
    biased, rules = sampled(0.3, drop=0.2)
    assert state("sample ratio: shadow", *biased, rules=rules) == VETO
    assert state("mirrored fraction: shadow", *rows, record(9999, unit="x", bucket=999_999), rules=rules) == VETO


def test_one_eager_user_does_not_look_like_a_biased_sample():
    """On requests this would reject; the test counts users."""
    rows, rules = sampled(0.3)
    eager = [record(5000 + n, unit="u0", bucket=rows[0].bucket, event_us=START_US + n) for n in range(3000)]
    assert state("sample ratio: shadow", *rows, *eager, rules=rules) == OK


def test_sampling_cannot_be_told_without_users_and_few_users_are_no_proof():
    assert state("mirrored fraction: shadow", *[record(n, unit="") for n in range(10)]) == WARN
    rows, rules = sampled(0.3)
    assert state("sample ratio: shadow", *rows[:30], rules=rules) == WARN


def test_requests_that_only_one_arm_saw_are_counted_inside_the_smaller_fraction():
    world = World(users=300, control_fraction=0.4)
    rules = plan(metric("errors"), fractions={"control": 0.4})
    assert state("both arms", *simulated(world), rules=rules) == OK
    assert state("both arms", *simulated(world)) == VETO


def test_floors_are_on_effective_users_and_blocks():
    assert state("users and blocks", *flood(300)) == OK
    assert state("users and blocks", *flood(150)) == VETO
    eager = [record(5000 + n, unit="u0", event_us=START_US + n * 3_600_000_000) for n in range(600)]
    assert state("users and blocks", *flood(300), *eager) == VETO
    assert state("users and blocks", *[record(n, unit=f"u{n}") for n in range(300)]) == VETO


def test_a_control_that_fails_cannot_be_compared_with():
    assert state("control", *simulated(World(users=300, control_errors=0.01))) == WARN
    assert state("control", *simulated(World(users=300, control_errors=0.1))) == VETO


def test_one_version_per_arm_and_the_controls_is_the_primarys():
    assert state("versions", record(0), record(1, arm_answer=answer(version="challenger:c"))) == VETO
    assert state("versions", record(0), record(1, arm="control", arm_answer=answer(version="other:1"))) == VETO


def test_answers_after_the_plans_deadline_are_said():
    assert state("deadline", record(0, arm_answer=answer(upstream_us=2_000_001))) == WARN
    assert state("deadline", record(0, arm_answer=answer(upstream_us=2_000_000))) == OK


def test_control_lists_that_differ_warn_and_name_the_sources_and_too_many_veto():
    same = [each for n in range(49) for each in (record(2 * n), record(2 * n + 1, arm="control"))]
    other = [record(98), record(99, arm="control", arm_answer=answer(["i9"], "hybrid"))]
    found = checks(*same, *other)["noise floor"]
    assert found.state == WARN
    assert "1 popular → hybrid" in found.found
    assert checks(*same[2:], *other)["noise floor"].state == VETO
    random_by_design = PLAN.model_copy(update={"max_control_difference": 1.0})
    assert checks(*other, rules=random_by_design)["noise floor"].state == WARN
