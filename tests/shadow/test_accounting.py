"""The four witnesses: client, router, metrics, log."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from shadow.accounting import ArmCounts, PairLogCounts, RouterCounts, discrepancies, metrics_discrepancies
from shadow.router.counters import Counters, RouterCollector


def arm(**changes: object) -> ArmCounts:
    counts = {
        "received": 10,
        "refused": 1,
        "not_eligible": 2,
        "not_sampled": 3,
        "in_flight": 0,
        "outcomes": {"paired": 3, "arm_timeout": 1},
    }
    return ArmCounts(**(counts | changes))


def router(shadow: ArmCounts, numbered: int = 4) -> RouterCounts:
    log = PairLogCounts(numbered=numbered, written=numbered, dropped=0, queued_bytes=0)
    return RouterCounts(incarnation="a", arms={"shadow": shadow}, pair_log=log)


LOGGED = {"shadow": {"paired": 3, "arm_timeout": 1}}


def test_nothing_is_said_when_all_three_agree() -> None:
    assert discrepancies(10, router(arm()), LOGGED) == []


@pytest.mark.parametrize(
    ("tell", "expected"),
    [
        (lambda: discrepancies(11, router(arm()), LOGGED), "client sent 11 but the router received 10"),
        (lambda: discrepancies(10, router(arm(not_sampled=2)), LOGGED), "received 10 but accounts for 9"),
        (lambda: discrepancies(10, router(arm()), {"shadow": {"paired": 3}}), "1 × arm_timeout but the log has 0"),
        (lambda: discrepancies(10, router(arm()), LOGGED | {"ghost": {"paired": 1}}), "arm 'ghost'"),
        (lambda: discrepancies(10, router(arm(), numbered=5), LOGGED), "numbered 5 records but decided 4"),
        (lambda: discrepancies(10, router(arm()), {}), "counted 3 × paired but the log has 0"),
    ],
)
def test_each_disagreement_is_told_with_both_numbers(tell: Callable[[], list[str]], expected: str) -> None:
    assert any(expected in sentence for sentence in tell())


SPLIT_LOG = {"shadow": {"paired": 3}}
EXPOSED_LOG = {"shadow": {"shadow": 3, "primary": 1}, "primary": {"primary": 2, "": 1}}


def split_router(**exposures: dict[str, int]) -> RouterCounts:
    """A router of a split: 3 pairs, 4 requests assigned to the arm, 3 to the primary (not sampled for the arm)."""
    shadow = arm(received=13, outcomes={"paired": 3, "exposed": 3, "exposed_error": 1})
    return msgspec.structs.replace(router(shadow, numbered=10), exposures=EXPOSED_LOG | exposures)


def test_exposures_are_outcomes_of_their_arm_and_records_of_the_log() -> None:
    assert discrepancies(13, split_router(), SPLIT_LOG, EXPOSED_LOG) == []


@pytest.mark.parametrize(
    ("tell", "expected"),
    [
        (lambda: discrepancies(13, split_router(), SPLIT_LOG), "3 × exposed but the log has 0"),
        (
            lambda: discrepancies(13, split_router(), SPLIT_LOG, EXPOSED_LOG | {"primary": {"primary": 2}}),
            "1 exposures of primary served by nobody but the log has 0",
        ),
        (
            lambda: discrepancies(13, split_router(), SPLIT_LOG, EXPOSED_LOG | {"shadow": {"shadow": 4}}),
            "1 × exposed_error but the log has 0",
        ),
        (
            lambda: discrepancies(13, split_router(primary={"primary": 1}), SPLIT_LOG, EXPOSED_LOG),
            "numbered 10 records but decided 8",
        ),
    ],
)
def test_each_exposure_that_is_told_otherwise_is_named(tell: Callable[[], list[str]], expected: str) -> None:
    assert any(expected in sentence for sentence in tell())


def test_metrics_tell_exposures_too() -> None:
    counts = msgspec.structs.replace(router(arm()), exposures={"shadow": {"shadow": 2, "": 1}})
    text = scraped(exposures={"shadow": {"shadow": 2, "": 1}})
    assert metrics_discrepancies(counts, text) == []
    assert metrics_discrepancies(counts, scraped(exposures={"shadow": {"shadow": 2}})) == [
        "shadow: the router counted 1 × served by nobody but its metrics say 0"
    ]


def test_the_router_is_settled_only_when_no_copy_and_no_byte_is_under_way() -> None:
    quiet = router(arm())
    waiting = msgspec.structs.replace(quiet, pair_log=msgspec.structs.replace(quiet.pair_log, queued_bytes=1))
    assert quiet.settled
    assert not waiting.settled
    assert not router(arm(in_flight=1)).settled


def test_counts_are_read_from_the_routers_json_with_further_fields_ignored() -> None:
    text = (
        b'{"incarnation":"a","experiment":"demo","arms":{"shadow":{"received":1,"refused":0,"not_eligible":0,'
        b'"not_sampled":0,"in_flight":0,"outcomes":{"paired":1},"balance":0}},"primary":{"answered":1,"errors":0},'
        b'"pair_log":{"numbered":1,"written":1,"dropped":0,"queued_bytes":0}}'
    )
    assert discrepancies(1, msgspec.json.decode(text, type=RouterCounts), {"shadow": {"paired": 1}}) == []


def scraped(exposures: dict[str, dict[str, int]] | None = None, **changes: int) -> str:
    """The metrics of a real collector over the counts of `router(arm())`, some of them changed."""
    counters = Counters.of(["shadow"])
    counters.exposures = exposures or {}
    told = counters.arms["shadow"]
    for name, value in {"received": 10, "refused": 1, "not_eligible": 2, "not_sampled": 3}.items():
        setattr(told, name, value)
    told.outcomes.update({"paired": 3, "arm_timeout": 1})
    document = counters.document() | {
        "pair_log": {"numbered": 4, "written": 4, "confirmed": 4, "unconfirmed": 0}
        | {"dropped": 0, "queued_bytes": 0, "stopped": 0}
    }
    document["arms"]["shadow"] |= {key: value for key, value in changes.items() if key != "paired"}
    document["arms"]["shadow"]["outcomes"]["paired"] = changes.get("paired", 3)
    registry = CollectorRegistry()
    registry.register(RouterCollector(lambda: document))
    return generate_latest(registry).decode()


def test_metrics_that_tell_the_routers_counts_are_no_disagreement() -> None:
    assert metrics_discrepancies(router(arm()), scraped()) == []


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (scraped(received=9), "shadow: the router counted 10 × received but its metrics say 9"),
        (scraped(paired=4), "shadow: the router counted 3 × paired but its metrics say 4"),
        ("", "shadow: the router counted 1 × arm_timeout but its metrics say 0"),
    ],
)
def test_metrics_that_tell_otherwise_are_told(metrics: str, expected: str) -> None:
    assert expected in metrics_discrepancies(router(arm()), metrics)
