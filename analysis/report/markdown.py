"""The Markdown twin of the report: short enough for a comment on a pull request, with every number at its end.

Next module: `analysis.cli`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from analysis.report.result import Result, numbers
from analysis.report.times import utc
from analysis.verdict import MetricResult
from analysis.wording import interval, shown

ABSENT: Final = "–"


def to_markdown(result: Result) -> str:
    """The whole report as GitHub-flavoured Markdown."""
    parts = [
        f"# {result.verdict}: {escaped(result.experiment or '(no experiment)')}",
        result.meaning,
        _bullets(result.reasons),
        "**What a shadow log cannot say**",
        _bullets(result.cannot_say),
        *_window(result),
        *_metrics(result),
        *_health(result),
        *_latency(result),
        *_failures(result),
        *_sources(result),
        *_noise(result),
        *_methods(result),
        *_every_number(result),
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """`text` with what would break a table or be read as markup made harmless."""
    for sign in ("\\", "|", "<", "*", "_", "`", "["):
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _window(result: Result) -> list[str]:
    window = result.window
    if window is None:
        return []
    size = f"{shown(window.requests, 'count', False)} requests of {shown(window.users, 'count', False)} users"
    when = f"{utc(window.first_event_us)} to {utc(window.last_event_us)} ({shown(window.hours, 'plain', False)} hours)"
    return [f"{size}, event time {when}, logged up to {utc(window.watermark_us)}."]


def _metrics(result: Result) -> list[str]:
    if not result.metrics:
        return []
    head = ["metric", "decision", "estimate", "interval", "margin", "inside by", "noise floor", "users", "blocks"]
    table = _table(head, [_metric(metric) for metric in result.metrics])
    notes = [f"{each.name}: {note}" for each in result.metrics for note in each.notes]
    reasons = [f"{each.name}, margin: {each.margin_reason}" for each in result.metrics if each.margin is not None]
    said = (
        f"Limits have a one-sided error of {result.plan.alpha} each; users and blocks in brackets are effective ones."
    )
    return ["## Metrics", table, said, _bullets([*notes, *reasons])]


def _metric(metric: MetricResult) -> list[str]:
    unit, signed = metric.unit, metric.harm != "none"
    at_least = "≥ " if metric.relation == "≥" else ""
    return [
        escaped(metric.name),
        metric.decision.replace("_", " "),
        at_least + shown(metric.estimate, unit, signed),
        interval(metric.lower, metric.upper, unit, signed),
        _or_dash(metric.margin, unit, sign=False),
        _or_dash(metric.to_margin, unit),
        _or_dash(metric.noise_floor, unit, signed),
        f"{shown(metric.users, 'count', False)} ({shown(metric.effective_users, 'count', False)})",
        f"{shown(metric.blocks, 'count', False)} ({shown(metric.effective_blocks, 'count', False)})",
    ]


def _or_dash(value: float | None, unit: str, sign: bool = True) -> str:
    return ABSENT if value is None else shown(value, unit, sign)


def _health(result: Result) -> list[str]:
    if not result.health:
        return []
    rows = [[escaped(each.name), each.state, escaped(each.found), escaped(each.expected)] for each in result.health]
    return ["## Health of the log", _table(["check", "state", "found", "expected"], rows)]


def _latency(result: Result) -> list[str]:
    if not result.latency:
        return []

    def cell(value: float) -> str:
        return ("≥ " if value >= result.plan.deadline_ms else "") + shown(value, "ms", False)

    rows = [
        [row.arm, cell(row.p50_ms), cell(row.p95_ms), cell(row.p99_ms), shown(row.at_deadline, "percent", False)]
        for row in result.latency
    ]
    return ["## Latency, shadow against control", _table(["arm", "p50", "p95", "p99", "at the deadline"], rows)]


def _failures(result: Result) -> list[str]:
    if result.failures is None:
        return []
    found = result.failures
    counts = [
        shown(each, "count", False) for each in (found.neither, found.only_control, found.only_shadow, found.both)
    ]
    rows = [["shadow answered", *counts[:2]], ["shadow failed", *counts[2:]]]
    return ["## Failed calls on the same requests", _table(["", "control answered", "control failed"], rows)]


def _sources(result: Result) -> list[str]:
    if not result.sources:
        return []
    shares = [
        [escaped(row.source), *(_or_dash(each, "percent", False) for each in (row.primary, row.control, row.shadow))]
        for row in result.sources
    ]
    changes = [
        [
            escaped(row.primary_source),
            escaped(row.shadow_source),
            shown(row.requests, "count", False),
            shown(row.users, "count", False),
            shown(row.long_tail_difference, "share"),
            shown(row.contribution, "share"),
        ]
        for row in result.source_changes
    ]
    head = ["primary's source", "shadow's source", "requests", "users", "difference", "contribution"]
    return [
        "## Who answered",
        _table(["source", "primary", "control", "shadow"], shares),
        "## Where the long-tail difference comes from",
        _table(head, changes),
    ]


def _noise(result: Result) -> list[str]:
    noise = result.noise
    if noise is None:
        return []
    counts = shown(noise.identical, "count", False), shown(noise.compared, "count", False)
    said = f"{counts[0]} of {counts[1]} lists of the control are identical to the primary's."
    if noise.long_tail_net is not None:
        limits = interval(noise.long_tail_net_lower, noise.long_tail_net_upper, "share")
        net = shown(noise.long_tail_net, "share")
        said += f" Net of the control's own difference, the shadow's long-tail share differs by {net} {limits}."
    if not noise.nets:
        return ["## Noise floor", said]
    rows = [[net.name, shown(net.value, net.unit), interval(net.lower, net.upper, net.unit)] for net in noise.nets]
    return ["## Noise floor", said, _table(["shadow's less control's", "difference", "interval"], rows)]


def _methods(result: Result) -> list[str]:
    plan, catalogue = result.plan, result.catalogue
    lines = [
        f"plan {plan.name}: α {plan.alpha} one-sided per guardrail, Holm for harm, blocks of {plan.block_hours:g} h, "
        f"deadline {plan.deadline_ms:g} ms; sha256 {plan.sha256}",
        f"catalogue: {catalogue.items} items, {catalogue.tail_items} in the long tail; sha256 {catalogue.sha256}",
        *(f"bundle {each.arm}: {each.name}:{each.version}; manifest sha256 {each.sha256}" for each in result.bundles),
        *(f"answered as {arm}: {', '.join(names)}" for arm, names in result.versions.items()),
        "software: " + ", ".join(f"{name} {version}" for name, version in result.software.items()),
    ]
    return ["## What this rests on", _bullets(lines)]


def _every_number(result: Result) -> list[str]:
    rows = [[f"`{path}`", repr(value)] for path, value in numbers(result).items()]
    summary = "<details><summary>Every number in full precision</summary>"
    return [summary, _table(["path", "value"], rows), "</details>"]
