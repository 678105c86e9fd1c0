"""Redis or the store goes: users are answered, and pairs wait; load by a client that does not retry, and no failure."""

from __future__ import annotations

import pytest

from bentos.fallback import HYBRID, POPULAR, POPULAR_RECENT
from shadow.accounting import discrepancies
from tests.cluster.kind_cluster import Stand, until
from tests.cluster.test_pairs import outcomes_of, sum_of, together
from tests.cluster.traffic import Traffic, pause

pytestmark = [pytest.mark.timeout(1_200), pytest.mark.xdist_group("kind")]
FALLBACK = {POPULAR, POPULAR_RECENT}


@pytest.fixture(scope="module")
def served(shared_stand: Stand) -> Stand:
    """Primary and shadow, ready, with a way to them."""
    shared_stand.play("shadow", replicas=1)
    shared_stand.open()
    shared_stand.ready("primary", "shadow")
    return shared_stand


def gone(stand: Stand, name: str) -> None:
    """Kill its pod, and let none come in its place."""
    stand.kubectl("scale", f"deployment/{name}", "--replicas=0")
    selector = ("--selector", f"app.kubernetes.io/name={name}")
    stand.kubectl("delete", "pod", *selector, "--grace-period=0", "--force", "--ignore-not-found")
    until(lambda: not stand.read("pods", *selector)["items"], 120, f"{name} is gone")


def back(stand: Stand, name: str) -> None:
    """With one pod."""
    stand.kubectl("scale", f"deployment/{name}", "--replicas=1")
    stand.kind.cluster.rolled_out(stand.namespace, name)


def test_users_get_labelled_fallbacks_while_redis_is_killed_and_vectors_again_when_it_is_back(served: Stand) -> None:
    with Traffic(served.kind.port) as traffic:
        until(lambda: set(traffic.newest) == {HYBRID}, 120, "answers are made from vectors")
        gone(served, "redis")
        until(lambda: set(traffic.newest) <= FALLBACK, 120, "every answer says that it is popular")
        pause(3)
        back(served, "redis")
        # It keeps nothing on its disk.
        served.load_features()
        until(lambda: set(traffic.newest) == {HYBRID}, 120, "answers are made from vectors again, without a restart")
    print(f"redis killed: {traffic.sent} requests, {dict(traffic.sources)}")
    assert not traffic.failed, traffic.told()
    assert set(traffic.sources) <= {HYBRID} | FALLBACK
    (pod,) = served.pods("primary")
    assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]


def test_pairs_wait_for_a_store_that_is_gone_and_none_is_lost(served: Stand) -> None:
    until(lambda: all(router.settled for router in served.counters()), 120, "every copy of before is decided")
    before = together(served.counters()).arms["shadow"].received
    gone(served, "store")
    with Traffic(served.kind.port) as traffic:
        pause(10)
    assert not traffic.failed, traffic.told()
    until(lambda: all(router.settled for router in served.counters()), 120, "every copy is decided")
    back(served, "store")

    counted = together(served.counters())
    sent = before + traffic.sent
    assert counted.arms["shadow"].received == sent
    assert counted.pair_log.dropped == 0
    stats = until(
        lambda: (
            (seen := served.stats())
            and sum(map(sum_of, outcomes_of(seen).values())) >= counted.pair_log.numbered
            and seen
        ),
        180,
        "what waited is in the store",
    )
    assert discrepancies(sent, counted, outcomes_of(stats)) == []
    print(f"store gone: {traffic.sent} requests, {counted.pair_log.numbered} pairs, all there")
