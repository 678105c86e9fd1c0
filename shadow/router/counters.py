"""Plain integers that always add up, and their Prometheus form.

Per arm, at every instant: received = refused + not_eligible + not_sampled + in_flight + Σ outcomes (DESIGN §4). Each
method moves one request from one place to another, so the identity cannot be broken from outside this module. Next
module: `shadow.router.admin`, which shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shadow.contracts import OUTCOMES, PAIRED

MOST_VERSIONS = 8
"""Of one arm whose pairs are told apart: the newest."""


@dataclass
class ArmCounters:
    """What became of every request the router received, seen from one arm."""

    received: int = 0
    refused: int = 0
    not_eligible: int = 0
    not_sampled: int = 0
    in_flight: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    pairs: dict[str, int] = field(default_factory=dict)
    """Of the outcomes `paired`, those of each version of the arm, the newest last."""

    def refuse(self) -> None:
        """A request that was no request."""
        self.received += 1
        self.refused += 1

    def ineligible(self) -> None:
        """A request outside the routes."""
        self.received += 1
        self.not_eligible += 1

    def unsampled(self) -> None:
        """A request of a user that this arm is not shown."""
        self.received += 1
        self.not_sampled += 1

    def begin(self) -> None:
        """A request that will end in one outcome."""
        self.received += 1
        self.in_flight += 1

    def decide(self, outcome: str, version: str = "") -> None:
        """Its outcome, and the version that it is of; `KeyError` for a word that is none."""
        self.outcomes[outcome] += 1
        self.in_flight -= 1
        if outcome == PAIRED:
            self._pair(version)

    def _pair(self, version: str) -> None:
        pairs = self.pairs
        if version in pairs:
            pairs[version] += 1
            return
        pairs[version] = 1
        if len(pairs) > MOST_VERSIONS:
            del pairs[next(iter(pairs))]

    @property
    def balance(self) -> int:
        """received minus all places a request can be in: always 0."""
        places = self.refused + self.not_eligible + self.not_sampled + self.in_flight
        return self.received - places - sum(self.outcomes.values())


@dataclass
class Counters:
    """All counters of one router."""

    arms: dict[str, ArmCounters]
    answered: int = 0
    """Requests answered with what the primary said."""
    primary_errors: int = 0
    """Requests answered 502 or 504, or broken off, because the primary did not answer whole."""
    turned_away: int = 0
    """Connections closed at once because there were too many."""
    exposures: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of a split, by the arm assigned and the arm whose answer the user got ("" for none)."""

    @staticmethod
    def of(names: Iterable[str]) -> Counters:
        """Counters for these arms, all zero."""
        return Counters({name: ArmCounters() for name in names})

    def know(self, names: Iterable[str]) -> None:
        """Count for these arms from now on; an arm that was there before goes on where it was."""
        for name in names:
            self.arms.setdefault(name, ArmCounters())

    def expose(self, assigned: str, served: str) -> None:
        """One request of a split came to its end."""
        row = self.exposures.setdefault(assigned, {})
        row[served] = row.get(served, 0) + 1

    def document(self) -> dict[str, Any]:
        """The parts of `/counters` that are counted here."""
        arms = {
            name: {
                "received": arm.received,
                "refused": arm.refused,
                "not_eligible": arm.not_eligible,
                "not_sampled": arm.not_sampled,
                "in_flight": arm.in_flight,
                "outcomes": dict(arm.outcomes),
                "balance": arm.balance,
            }
            for name, arm in self.arms.items()
        }
        return {
            "arms": arms,
            "primary": {"answered": self.answered, "errors": self.primary_errors},
            "turned_away": self.turned_away,
            "exposures": {assigned: dict(row) for assigned, row in self.exposures.items()},
        }


class RouterCollector(Collector):
    """Reads `document()` of a router when Prometheus asks; nothing is counted twice."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def collect(self) -> Iterator[Metric]:
        """The metrics, made anew from the integers."""
        document = self._document()
        yield from _control(document.get("control"))
        if "arms" not in document:
            return  # nobody has told this router yet what to do
        requests = CounterMetricFamily("understudy_requests", "Requests by arm and place.", labels=["arm", "place"])
        outcomes = CounterMetricFamily("understudy_outcomes", "Outcomes by arm.", labels=["arm", "outcome"])
        flying = GaugeMetricFamily("understudy_in_flight", "Requests not decided yet.", labels=["arm"])
        waiting = GaugeMetricFamily("understudy_queue_bytes", "Bytes of copies that wait.", labels=["arm"])
        for name, arm in document["arms"].items():
            for place in ("received", "refused", "not_eligible", "not_sampled"):
                requests.add_metric([name, place], arm[place])
            for outcome, count in arm["outcomes"].items():
                outcomes.add_metric([name, outcome], count)
            flying.add_metric([name], arm["in_flight"])
            waiting.add_metric([name], arm.get("queue_bytes", 0))
        primary = CounterMetricFamily("understudy_primary", "Answers to users by result.", labels=["result"])
        for result, count in document["primary"].items():
            primary.add_metric([result], count)
        away = CounterMetricFamily("understudy_connections_turned_away", "Connections beyond the limit.")
        away.add_metric([], document["turned_away"])
        log = CounterMetricFamily("understudy_pair_log", "Records by what became of them.", labels=["state"])
        for state in ("numbered", "written", "dropped", "confirmed", "unconfirmed"):
            log.add_metric([state], document["pair_log"][state])
        queued = GaugeMetricFamily("understudy_pair_log_queued_bytes", "Bytes that wait for the shipper.")
        queued.add_metric([], document["pair_log"]["queued_bytes"])
        stopped = GaugeMetricFamily("understudy_pair_log_stopped", "1 while the shipper's full spool stops the copies.")
        stopped.add_metric([], document["pair_log"]["stopped"])
        yield from (requests, outcomes, flying, waiting, primary, away, log, queued, stopped, _exposures(document))


def _control(control: dict[str, Any] | None) -> Iterator[Metric]:
    """Which configuration is in force, and how long still."""
    if control is None:
        return
    generation = GaugeMetricFamily("understudy_config_generation", "Of the configuration in force.", labels=["source"])
    generation.add_metric([control["source"]], control["generation"])
    changes = CounterMetricFamily("understudy_config_changes", "Configurations offered.", labels=["result"])
    for result, count in control["changes"].items():
        changes.add_metric([result], count)
    mode = GaugeMetricFamily("understudy_mode", "1 for what the router does.", labels=["mode"])
    for each in ("mirror", "split", "off"):
        mode.add_metric([each], control["mode"] == each)
    suspended = GaugeMetricFamily("understudy_suspended", "1 while this keeps it from copying.", labels=["reason"])
    for reason in ("aborted", "lease_expired"):
        suspended.add_metric([reason], reason in control["suspended"])
    lease = GaugeMetricFamily("understudy_config_lease_seconds", "Until the lease runs out; absent without one.")
    if control["lease_seconds_left"] is not None:
        lease.add_metric([], control["lease_seconds_left"])
    expired = CounterMetricFamily("understudy_config_lease_expirations", "Leases that ran out.")
    expired.add_metric([], control["lease_expirations"])
    errors = CounterMetricFamily("understudy_control_errors", "Of file, server and disk, by kind.", labels=["kind"])
    for kind, count in control["errors"].items():
        errors.add_metric([kind], count)
    last = GaugeMetricFamily("understudy_control_error", "1 while the last thing heard was this.", labels=["kind"])
    if control["error"] is not None:
        last.add_metric([control["error"]["kind"]], 1)
    yield from (generation, changes, mode, suspended, lease, expired, errors, last)


def _exposures(document: dict[str, Any]) -> Metric:
    told = "Requests of a split by the arm assigned and the arm that answered the user."
    exposures = CounterMetricFamily("understudy_exposures", told, labels=["assigned", "served"])
    for assigned, row in document["exposures"].items():
        for served, count in row.items():
            exposures.add_metric([assigned, served], count)
    return exposures
