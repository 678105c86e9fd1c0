"""The words of a verdict: decisions, health checks and what is known of one metric. Values only, no arithmetic, no I/O.

Next module: `analysis.plan`, what was promised before the data came.
"""

from __future__ import annotations

from typing import Final

import msgspec

PASS: Final = "PASS"  # noqa: S105 - a verdict, not a password
HOLD: Final = "HOLD"
INCONCLUSIVE: Final = "INCONCLUSIVE"
ERROR: Final = "ERROR"
EXIT_CODES: Final = {PASS: 0, HOLD: 1, INCONCLUSIVE: 3, ERROR: 4}
"""What `understudy gate` exits with; 2 is left to usage errors."""

OK: Final = "ok"
WARN: Final = "warn"
VETO: Final = "veto"
"""States of a health check. A veto makes the verdict INCONCLUSIVE; nothing in the health block can make it PASS."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One health check: its name, `ok | warn | veto`, what was found and what was expected, in words."""

    name: str
    state: str
    found: str
    expected: str


class Needed(msgspec.Struct, frozen=True, kw_only=True):
    """How many users (and hours of traffic at the same rate) in total would decide an inconclusive metric.

    At a true effect of zero and the plan's power; `_low` and `_high` bound it with 90 % confidence, because the
    variance it rests on is itself an estimate.
    """

    users: float
    users_low: float
    users_high: float
    hours: float
    hours_low: float
    hours_high: float


class MetricResult(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of one metric. Numbers are in `unit`; None where a number is not defined (never NaN).

    `decision`: `pass | pass_with_note | hold | inconclusive` for guardrails, `descriptive` otherwise. `relation` is "≥"
    when latencies were cut off at the deadline, so that estimate and interval are lower bounds; `upper` is then None.
    `lower`, `upper`: limits with a one-sided error of α each, at looks of what this look may spend. `p_harm` tests "no
    harm" one-sided, `p_harm_holm` is adjusted over the looks and the guardrails. `to_margin` is how far the harmful
    limit is from the margin (positive: inside), so how far the verdict is from its flip.
    """

    name: str
    role: str
    comparison: str
    average: str
    harm: str
    unit: str
    decision: str
    reason: str
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    relation: str = "="
    margin: float | None = None
    margin_reason: str = ""
    to_margin: float | None = None
    p_harm: float | None = None
    p_harm_holm: float | None = None
    noise_floor: float | None = None
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    requests: int = 0
    users: int = 0
    blocks: int = 0
    effective_users: float = 0.0
    effective_blocks: float = 0.0
    needed: Needed | None = None
    notes: tuple[str, ...] = ()
