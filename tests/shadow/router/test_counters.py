"""Counters: the identity cannot be broken from outside, and Prometheus shows the same integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shadow.contracts import OUTCOMES
from shadow.router.counters import ArmCounters, Counters, RouterCollector

PAIR_LOG = {
    "pair_log": {
        "numbered": 5, "written": 3, "dropped": 1, "confirmed": 2, "unconfirmed": 1, "queued_bytes": 100, "stopped": 1,
    }
}  # fmt: skip


@given(st.lists(st.sampled_from(["refuse", "ineligible", "unsampled", "begin", *OUTCOMES])))
def test_the_identity_holds_after_every_step(steps: list[str]) -> None:
    arm = ArmCounters()
    for step in steps:
        if step not in OUTCOMES:
            getattr(arm, step)()
        elif arm.in_flight:
            arm.decide(step)
        assert arm.balance == 0
    assert arm.received == sum(step not in OUTCOMES for step in steps)


def test_prometheus_reads_back_the_integers() -> None:
    counters = Counters.of(["shadow"])
    arm = counters.arms["shadow"]
    for step in (arm.begin, arm.begin, arm.begin, arm.refuse, arm.unsampled, arm.ineligible):
        step()
    arm.decide("paired")
    arm.decide("dropped:queue_full")
    counters.answered = 9
    registry = CollectorRegistry()
    registry.register(RouterCollector(lambda: counters.document() | PAIR_LOG))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}
    assert samples["understudy_requests_total", "shadow", "received"] == 6
    assert samples["understudy_requests_total", "shadow", "not_sampled"] == 1
    assert samples["understudy_outcomes_total", "shadow", "paired"] == 1
    assert samples["understudy_outcomes_total", "shadow", "dropped:queue_full"] == 1
    assert samples["understudy_in_flight", "shadow"] == 1
    assert samples["understudy_primary_total", "answered"] == 9
    assert samples["understudy_pair_log_total", "written"] == 3
    assert samples["understudy_pair_log_queued_bytes",] == 100
