"""The serve path on a small real slice: both models as they are shipped, the first 300 requests of December 2000."""

from __future__ import annotations

from pathlib import Path

import pytest

from shadow.demo import CONFIGS
from shadow.rehearsal import Rehearsal
from tests.integration.playing import gate, play

pytestmark = [pytest.mark.data, pytest.mark.xdist_group("integration"), pytest.mark.timeout(420)]


def test_real_requests_are_answered_paired_and_judged(rehearsal: Rehearsal, movielens: Path) -> None:
    directory = rehearsal.directory
    rehearsal.run("data", "facts", "--out", directory / "facts.parquet")
    rehearsal.run("data", "requests", "--out", directory / "requests.jsonl")
    rehearsal.start_redis()
    tags = {}
    for name, config in CONFIGS.items():
        bundle = directory / "bundles" / name
        tracking = f"sqlite:///{directory / 'mlflow.db'}"
        rehearsal.run("train", config, "--bundle", bundle, "--tracking", tracking, "--alias", name)
        tags[name] = rehearsal.run("bento", "build", bundle, capture=True).splitlines()[-1]
        facts = ("--facts", directory / "facts.parquet", "--redis", rehearsal.redis_url)
        rehearsal.run("features", "load", bundle, *facts)
    arms = {"primary": tags["champion"], "shadow": tags["challenger"], "control": tags["champion"]}
    for arm, tag in arms.items():
        rehearsal.start_bento(arm, tag)
    replayed, outcomes = play(rehearsal, arms, "real")
    assert replayed["statuses"] == {"200": 300}
    assert replayed["empty"] == 0
    assert outcomes == {"shadow": {"paired": 300}, "control": {"paired": 300}}
    report = gate(rehearsal, "real")
    assert report["versions"]["shadow"] == [tags["challenger"]]
    assert report["noise"]["identical"] == 300
