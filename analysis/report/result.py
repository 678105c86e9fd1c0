"""The one result model: everything a report says, in full precision; JSON, Markdown and HTML are made from it alone.

Next module: `analysis.report.plots`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from analysis.noise import NoiseFloor
from analysis.sources import SourceChange, SourceShare
from analysis.verdict import Check, MetricResult

SCHEMA_VERSION: Final = 1

CANNOT_SAY: Final = (
    "No user saw a list of the shadow. This report says nothing about clicks, conversions, satisfaction or revenue.",
    "PASS means safe to expose to an A/B test. It never means better.",
    "Overlap and other differences between lists have no direction: different is not worse, equal is not good.",
)
"""What a shadow log cannot say: printed on page one of every report."""


class PlanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The plan that was used; `sha256` is over its file."""

    name: str
    sha256: str
    alpha: float
    power: float
    block_hours: float
    deadline_ms: float
    adapter: str
    missing_rule: str


class CatalogueSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The item table that says what the long tail is; `sha256` is over its file."""

    sha256: str
    items: int
    tail_items: int


class BundleSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One model version as its bundle's manifest names it; `sha256` is over the manifest."""

    arm: str
    name: str
    version: str
    sha256: str


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which data was judged. Event times bound the requests; `watermark_us` is an arrival time: the log's watermark
    while its routers live (what arrived later was left out), else the last arrival that was logged."""

    first_event_us: int
    last_event_us: int
    watermark_us: int
    hours: float
    requests: int
    users: int


class LatencyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One arm's latency in ms on the requests judged for both; a quantile at the deadline is only known to be "≥"."""

    arm: str
    p50_ms: float
    p95_ms: float
    p99_ms: float
    at_deadline: float
    curve_ms: tuple[float, ...]
    """Quantiles at 0, 1/100, …, 1: what the curve is drawn from."""


class Discordance(msgspec.Struct, frozen=True, kw_only=True):
    """Which arm failed, on the requests judged for both."""

    neither: int
    only_shadow: int
    only_control: int
    both: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the gate. Nothing in it depends on when or where it ran, so equal inputs give equal bytes."""

    schema_version: int = SCHEMA_VERSION
    verdict: str
    meaning: str
    reasons: tuple[str, ...]
    cannot_say: tuple[str, ...] = CANNOT_SAY
    experiment: str
    plan: PlanSummary
    catalogue: CatalogueSummary
    bundles: tuple[BundleSummary, ...] = ()
    versions: dict[str, tuple[str, ...]] = {}
    window: Window | None = None
    outcomes: dict[str, dict[str, int]] = {}
    metrics: tuple[MetricResult, ...] = ()
    health: tuple[Check, ...] = ()
    noise: NoiseFloor | None = None
    sources: tuple[SourceShare, ...] = ()
    source_changes: tuple[SourceChange, ...] = ()
    latency: tuple[LatencyRow, ...] = ()
    failures: Discordance | None = None
    software: dict[str, str] = {}


def to_json(result: Result) -> bytes:
    """The result as indented JSON; numbers in the shortest form that reads back to the same value."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def from_json(text: bytes) -> Result:
    """Read what `to_json` wrote; `msgspec.DecodeError` for anything else."""
    return msgspec.json.decode(text, type=Result)


def numbers(result: Result) -> dict[str, float]:
    """Every number of the result by its path, as "metrics.long_tail_share.estimate"; curves and versions excluded."""
    document = msgspec.to_builtins(result)
    del document["schema_version"]
    return dict(_leaves("", document))


def path_part(key: str) -> str:
    """`key` as part of a path; what a log may have smuggled into it (markup, line feeds) becomes "?"."""
    return re.sub(r"[^\w:()-]", "?", key)


NAMED_BY: Final = ("name", "arm")
"""What stands in a path for an element of a list, where it has one of these; else its position."""


def _leaves(path: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key != "curve_ms":
                yield from _leaves(f"{path}.{path_part(key)}" if path else path_part(key), each)
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            name = (
                next((each[key] for key in NAMED_BY if key in each), position) if isinstance(each, dict) else position
            )
            yield from _leaves(f"{path}.{name}", each)
    elif isinstance(value, int | float):
        yield path, value
