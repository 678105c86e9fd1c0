"""The accounting identity across four witnesses: client, router, its metrics and the pair log must tell the same story.

Within the router the identity is DESIGN §4's: received = refused + not_eligible + not_sampled + in_flight + Σ outcomes,
per arm. Across the witnesses: what the client sent is what the router received, what Prometheus would scrape is what
the router counted, and each outcome stands in the log as often as the router counted it: as a pair, or as an exposure
where a split decided it. Pure functions on the four documents; nothing is rounded and nothing is forgiven.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from shadow.contracts import EXPOSED, EXPOSED_ERROR, PRIMARY

REQUESTS: Final = "understudy_requests"
OUTCOMES: Final = "understudy_outcomes"
EXPOSURES: Final = "understudy_exposures"
_LABELS: Final = {REQUESTS: ("arm", "place"), OUTCOMES: ("arm", "outcome"), EXPOSURES: ("assigned", "served")}
"""The counters of the router's metrics that have an arm, and their labels."""
Counts = Mapping[str, Mapping[str, int]]
"""By arm, then by outcome; of exposures: by the arm assigned, then by the arm that answered ("" for none)."""


class ArmCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One arm's part of the router's `/counters`."""

    received: int
    refused: int
    not_eligible: int
    not_sampled: int
    in_flight: int
    outcomes: dict[str, int]


class PairLogCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The pair log's part: `numbered` records, those written to the shipper, and those dropped before it."""

    numbered: int
    written: int
    dropped: int
    queued_bytes: int


class RouterCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The router's `/counters`."""

    incarnation: str
    arms: dict[str, ArmCounts]
    pair_log: PairLogCounts
    exposures: dict[str, dict[str, int]] = {}

    @property
    def settled(self) -> bool:
        """Whether nothing is under way any more: no copy in flight, no byte waiting for the shipper."""
        return not self.pair_log.queued_bytes and not any(arm.in_flight for arm in self.arms.values())


def discrepancies(sent: int, router: RouterCounts, logged: Counts, exposed: Counts | None = None) -> list[str]:
    """Every sentence in which the three witnesses disagree; empty when the identity holds.

    `sent` is the client's own count of requests that reached the router, `logged` the pair log's records per arm and
    outcome, `exposed` its exposures.
    """
    exposed = exposed or {}
    logged = _with_exposures(logged, exposed)
    found = [sentence for name, arm in router.arms.items() for sentence in _arm(name, sent, arm, logged.get(name, {}))]
    found += [f"the log has arm {name!r}, which the router does not know" for name in logged if name not in router.arms]
    found += _exposures(router.exposures, exposed)
    # Of the exposures those of an arm are outcomes of it; those of the primary belong to no arm.
    decided = sum(sum(arm.outcomes.values()) for arm in router.arms.values())
    decided += sum(router.exposures.get(PRIMARY, {}).values())
    if router.pair_log.numbered != decided:
        found.append(f"the router numbered {router.pair_log.numbered} records but decided {decided} outcomes")
    return found


def metrics_discrepancies(router: RouterCounts, metrics: str) -> list[str]:
    """Every number of `router` that its `/metrics` tells otherwise: text of Prometheus, taken at rest."""
    told = {
        (sample.name, sample.labels[one], sample.labels[other]): int(sample.value)
        for family in text_string_to_metric_families(metrics)
        for one, other in [_LABELS.get(family.name, ("", ""))]
        for sample in family.samples
        if one in sample.labels and other in sample.labels
    }
    counted = {
        (f"{REQUESTS}_total", name, place): getattr(arm, place)
        for name, arm in router.arms.items()
        for place in ("received", "refused", "not_eligible", "not_sampled")
    }
    counted |= {
        (f"{OUTCOMES}_total", name, outcome): number
        for name, arm in router.arms.items()
        for outcome, number in arm.outcomes.items()
    }
    counted |= {
        (f"{EXPOSURES}_total", assigned, served): number
        for assigned, row in router.exposures.items()
        for served, number in row.items()
    }
    return [
        f"{key[1]}: the router counted {counted.get(key, 0)} × {key[2] or 'served by nobody'} "
        f"but its metrics say {told.get(key, 0)}"
        for key in sorted({*counted, *told})
        if counted.get(key, 0) != told.get(key, 0)
    ]


def _with_exposures(logged: Counts, exposed: Counts) -> Counts:
    """The outcomes that the log shows, those told by exposures among them."""
    whole = {name: dict(outcomes) for name, outcomes in logged.items()}
    for assigned, row in exposed.items():
        if assigned != PRIMARY:
            answered = row.get(assigned, 0)
            told = {EXPOSED: answered, EXPOSED_ERROR: sum(row.values()) - answered}
            whole[assigned] = whole.get(assigned, {}) | told
    return whole


def _exposures(counted: Counts, logged: Counts) -> list[str]:
    """Where router and log disagree about who was shown what."""
    pairs = {(assigned, served) for counts in (counted, logged) for assigned, row in counts.items() for served in row}
    return [
        f"the router counted {ours} exposures of {assigned} served by {served or 'nobody'} but the log has {theirs}"
        for assigned, served in sorted(pairs)
        for ours, theirs in [(counted.get(assigned, {}).get(served, 0), logged.get(assigned, {}).get(served, 0))]
        if ours != theirs
    ]


def _arm(name: str, sent: int, arm: ArmCounts, logged: Mapping[str, int]) -> list[str]:
    found = []
    told = arm.refused + arm.not_eligible + arm.not_sampled + arm.in_flight + sum(arm.outcomes.values())
    if arm.received != told:
        found.append(f"{name}: the router received {arm.received} but accounts for {told}")
    if arm.received != sent:
        found.append(f"{name}: the client sent {sent} but the router received {arm.received}")
    for outcome in sorted({*arm.outcomes, *logged}):
        counted, written = arm.outcomes.get(outcome, 0), logged.get(outcome, 0)
        if counted != written:
            found.append(f"{name}: the router counted {counted} × {outcome} but the log has {written}")
    return found
