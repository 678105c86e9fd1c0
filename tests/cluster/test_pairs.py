"""A replay through a cluster: what the client was answered, what the routers counted and what the store has agree."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shadow.accounting import ArmCounts, PairLogCounts, RouterCounts, discrepancies
from shadow.rehearsal import command
from tests.cluster.kind_cluster import Stand, until
from tests.cluster.traffic import HOST, Traffic, pause

pytestmark = [pytest.mark.timeout(1_200), pytest.mark.xdist_group("kind")]
REQUESTS = 600


def together(routers: Sequence[RouterCounts]) -> RouterCounts:
    """The counts of several routers as if one had counted."""
    arms = {}
    for name in routers[0].arms:
        each = [router.arms[name] for router in routers]
        outcomes = sum((Counter(arm.outcomes) for arm in each), Counter[str]())
        places = ("received", "refused", "not_eligible", "not_sampled", "in_flight")
        arms[name] = ArmCounts(
            **{place: sum(getattr(arm, place) for arm in each) for place in places}, outcomes=outcomes
        )
    logs = [router.pair_log for router in routers]
    parts = ("numbered", "written", "dropped", "queued_bytes")
    log = PairLogCounts(**{part: sum(getattr(each, part) for each in logs) for part in parts})
    return RouterCounts(incarnation="all", arms=arms, pair_log=log)


def outcomes_of(stats: Any) -> dict[str, dict[str, int]]:
    return {arm: told["outcomes"] for arm, told in stats["arms"].items()}


def test_client_routers_and_store_agree_to_the_last_pair(stand: Stand, tmp_path: Path) -> None:
    stand.play("shadow", "control")
    stand.open()
    stand.ready("primary", "shadow", "control")
    lines = [{"event_time_us": 1_000_000 + n * 1_000, "user_id": f"u{n % 50:04d}"} for n in range(REQUESTS)]
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    replay = command("replay", "--requests", tmp_path / "requests.jsonl", "--to", f"http://{HOST}:{stand.kind.port}")
    paced = [*replay, "--rhythm", "constant", "--rps", "60", "--json-out", tmp_path / "replay.json"]
    done = subprocess.run(paced, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "replay.json").read_text())["requests"] == REQUESTS
    # A replay keeps its connections, and may so stay with one pod: fresh ones go to both.
    with Traffic(stand.kind.port) as traffic:
        pause(5)
    assert not traffic.failed, traffic.told()
    sent = REQUESTS + traffic.sent

    until(lambda: all(router.settled for router in stand.counters()), 60, "every copy is decided")
    routers = stand.counters()
    assert len(routers) == 2
    assert all(router.arms["shadow"].received for router in routers), "the load reached both pods"
    whole = together(routers)
    assert whole.arms["shadow"].received == sent
    decided = whole.pair_log.numbered
    stats = until(
        lambda: (seen := stand.stats()) and sum(map(sum_of, outcomes_of(seen).values())) >= decided and seen,
        120,
        "the segments are in the store",
    )
    assert discrepancies(sent, whole, outcomes_of(stats)) == []
    assert outcomes_of(stats)["shadow"]["paired"] >= 0.95 * sent

    # The pods end in order: nothing is missing, and the log says so itself.
    stand.kubectl("scale", "deployment/recommender-primary", "--replicas=0")
    until(lambda: not stand.pods("primary"), 120, "the primary's pods end")
    stats = stand.stats()
    assert discrepancies(sent, whole, outcomes_of(stats)) == []
    assert stats["problems"] == []


def sum_of(outcomes: dict[str, int]) -> int:
    return sum(outcomes.values())
