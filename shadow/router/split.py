"""Split mode, the A/B test: who gets the candidate's answers instead of the primary's, and the account of it.

Assigned are the buckets below the split's fraction: the same users at every replica and every time, and a raised
fraction keeps those who were in. Never assigned are methods that may not be repeated (RFC 9110 §9.2.2: after a fault of
the candidate the primary would do the same again) and requests that came through another router.
Next module: `shadow.router.trial`, one request of a split.
"""

from __future__ import annotations

from shadow.contracts import EXPOSED, EXPOSED_ERROR, PRIMARY
from shadow.router.config import RouterConfig
from shadow.router.counters import Counters
from shadow.router.headers import hops_of
from shadow.router.http1 import IDEMPOTENT, Request
from shadow.router.mirror import Mirror
from shadow.router.pairlog import PairLog
from shadow.router.records import Draft, Shown
from shadow.router.sampling import HashSampler


class Splitter:
    """The split of one router. `mirror` is the candidate: it copies nothing, but has the pool, the limits and the
    breaker."""

    def __init__(self, mirror: Mirror, fraction: float, counters: Counters, log: PairLog) -> None:
        self.mirror = mirror
        self.name = mirror.arm.name
        self._sampler = HashSampler(fraction)
        self._counters = counters
        self._log = log

    @staticmethod
    def of(config: RouterConfig, arms: list[Mirror], counters: Counters, log: PairLog) -> Splitter | None:
        """The split of `config`, if that is its mode."""
        if config.split is None:
            return None
        [mirror] = [each for each in arms if each.arm.name == config.split.arm]
        return Splitter(mirror, config.split.fraction, counters, log)

    def assign(self, eligible: bool, request: Request, bucket: int) -> str:
        """The arm that is to answer, "" for a request outside the routes; counted."""
        counters = self.mirror.counters
        if not eligible:
            counters.ineligible()
            return ""
        if not self._sampler.takes(bucket) or request.method not in IDEMPOTENT or hops_of(request) > 0:
            counters.unsampled()
            return PRIMARY
        counters.begin()
        return self.name

    def decide(self, draft: Draft, shown: Shown) -> None:
        """Count what was shown and write its record; the one way out of `in_flight`."""
        if shown.assigned == self.name:
            self.mirror.counters.decide(EXPOSED if shown.served == self.name else EXPOSED_ERROR)
        self._counters.expose(shown.assigned, shown.served)
        self._log.expose(draft, shown)
