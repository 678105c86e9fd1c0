"""The whole serve path on synthetic data: client → router → bentos with Redis → pair log → verdict, and its faults.

The tests share one set but not its state: each uses an experiment of its own and leaves the set whole.
"""

from __future__ import annotations

import json

import msgspec
import pytest

from shadow.processes import accepts
from shadow.rehearsal import HOST, Rehearsal
from tests.integration.playing import gate, play
from training.experiment import Experiment, ExportSettings
from training.export import export_bundle, requests_of, write_facts, write_requests
from training.ials import IalsSettings
from training.model import fit_model
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies

pytestmark = [pytest.mark.xdist_group("integration"), pytest.mark.timeout(420)]

ARMS = {"primary": "champion", "shadow": "challenger", "control": "champion"}


@pytest.fixture(scope="module")
def tags(rehearsal: Rehearsal) -> dict[str, str]:
    """Two models trained on synthetic data, packaged, loaded and serving; arm → bento tag."""
    interactions = synthetic_interactions(1, users=400, items=150, per_user=30)
    split = split_by_time(interactions)
    settings = IalsSettings(dimension=16, sweeps=3)
    movies = synthetic_movies(interactions)
    built = {}
    for name, least in (("champion", 1), ("challenger", 12)):
        experiment = Experiment(name=name, about="", ials=settings, export=ExportSettings(min_history=least))
        bundle = rehearsal.directory / "bundles" / name
        fitted = fit_model(split.train, movies, experiment, threads=1)
        export_bundle(bundle, experiment, fitted, split.train, movies, split.validation_from_us, {"data_hash": "none"})
        built[name] = rehearsal.run("bento", "build", bundle, capture=True).splitlines()[-1]
    write_facts(rehearsal.directory / "facts.parquet", split.train)
    write_requests(rehearsal.directory / "requests.jsonl", requests_of(split.validation))
    rehearsal.start_redis()
    load(rehearsal)
    tags = {arm: built[model] for arm, model in ARMS.items()}
    for arm, tag in tags.items():
        rehearsal.start_bento(arm, tag)
    return tags


def load(rehearsal: Rehearsal) -> None:
    for name in ("champion", "challenger"):
        facts = ("--facts", rehearsal.directory / "facts.parquet", "--redis", rehearsal.redis_url)
        rehearsal.run("features", "load", rehearsal.directory / "bundles" / name, *facts)


def test_every_request_is_answered_paired_and_judged(rehearsal: Rehearsal, tags: dict[str, str]) -> None:
    replayed, outcomes = play(rehearsal, tags, "whole")
    assert replayed["statuses"] == {"200": 300}
    assert replayed["empty"] == 0
    assert replayed["sources"]["hybrid"] > 0
    assert outcomes == {"shadow": {"paired": 300}, "control": {"paired": 300}}
    report = gate(rehearsal, "whole")
    assert report["verdict"] in ("PASS", "HOLD", "INCONCLUSIVE")
    assert report["window"]["requests"] == 300
    assert report["noise"]["identical"] == report["noise"]["compared"] == 300
    share = {row["source"]: row for row in report["sources"]}
    assert share["hybrid"]["shadow"] < share["hybrid"]["primary"] == share["hybrid"]["control"]


def test_the_log_replayed_gets_the_same_answers_byte_for_byte_and_says_where_not(
    rehearsal: Rehearsal, tags: dict[str, str]
) -> None:
    """The log of the test before, against the primary's own bento, then against the shadow's of another model."""
    users = rehearsal.directory / "users.json"
    users.write_bytes(msgspec.json.encode(synthetic_interactions(1, users=400, items=150, per_user=30).user_ids))
    log = ("--pairs", rehearsal.pairs, "--experiment", "whole", "--users", users, "--compare", "primary")
    pace = ("--rhythm", "constant", "--rps", "80")
    found = {}
    for arm in ("primary", "shadow"):
        out = rehearsal.directory / f"again-{arm}.json"
        target = f"http://{HOST}:{rehearsal.ports.bento(arm)}"
        rehearsal.run("replay", *log, "--to", target, *pace, "--json-out", out, accept=(0, 1))
        found[arm] = json.loads(out.read_text())
        assert found[arm]["statuses"] == {"200": 300}
    assert found["primary"]["comparison"] == {"counts": {"same": 300}, "places": {}, "examples": []}
    assert found["shadow"]["comparison"]["counts"] == {"different": 300}
    assert found["shadow"]["comparison"]["examples"]


def test_a_dead_shadow_leaves_the_primary_untouched_and_is_accounted(
    rehearsal: Rehearsal, tags: dict[str, str]
) -> None:
    rehearsal.stage.stop("shadow")
    replayed, outcomes = play(rehearsal, tags, "dead-shadow")
    assert replayed["statuses"] == {"200": 300}
    assert outcomes["control"] == {"paired": 300}
    assert sum(outcomes["shadow"].values()) == 300
    assert set(outcomes["shadow"]) <= {"arm_error", "dropped:breaker_open"}
    assert gate(rehearsal, "dead-shadow")["verdict"] != "PASS"
    rehearsal.start_bento("shadow", tags["shadow"])


def test_a_frozen_control_leaves_the_primary_untouched_and_is_accounted(
    rehearsal: Rehearsal, tags: dict[str, str]
) -> None:
    control = next(each for each in rehearsal.stage.running if each.name == "control")
    family = control.family()
    for process in family:
        process.suspend()
    try:
        replayed, outcomes = play(rehearsal, tags, "frozen-control")
    finally:
        for process in family:
            process.resume()
    assert replayed["statuses"] == {"200": 300}
    assert outcomes["shadow"] == {"paired": 300}
    assert "paired" not in outcomes["control"]
    assert sum(outcomes["control"].values()) == 300
    assert gate(rehearsal, "frozen-control")["verdict"] != "PASS"


def test_without_redis_answers_are_labelled_fallbacks_and_services_recover_by_themselves(
    rehearsal: Rehearsal, tags: dict[str, str]
) -> None:
    rehearsal.stage.stop("redis")
    replayed, outcomes = play(rehearsal, tags, "no-redis")
    assert replayed["statuses"] == {"200": 300}
    assert replayed["sources"] == {"popular": 300}
    assert replayed["empty"] == 0
    assert outcomes["shadow"] == {"paired": 300}
    assert not accepts(HOST, rehearsal.ports.redis)
    rehearsal.start_redis()
    load(rehearsal)
    replayed, _ = play(rehearsal, tags, "redis-back")
    assert replayed["sources"]["hybrid"] > 0
