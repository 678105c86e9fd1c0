"""How records of a pair log look to people: one line, two answers side by side, a table of counts. Pure.

Next module: `shadow.pairs_tail`, which follows a log.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, Final

import msgspec

from shadow.contracts import Answer, Exposure, PairRecord
from shadow.log_health import LogHealth, routers_by_key
from shadow.watermark import Watermark

COLUMN: Final = 58
"""Characters of one answer beside the other."""
BODY_LINES: Final = 200
"""Lines of a body that are shown."""

Counts = dict[str, dict[str, Counter[str]]]
"""By arm, then by outcome and by the status (or error) of either side."""


def as_document(record: PairRecord | Exposure) -> str:
    """The record as one line of JSON, as it lies in the log."""
    return msgspec.json.encode(record).decode()


def one_line(record: PairRecord | Exposure) -> str:
    """Time, request, arm, outcome, and what either side said."""
    head = f"{clock(record.arrival_us)}  {record.request_id:32}  "
    if isinstance(record, Exposure):
        end = f"{record.status} {record.version}" if record.served else record.error
        return f"{head}{record.assigned:12}  exposed: answered by {record.served or '(nobody)'}, {end}"
    sides = " | ".join(_said(answer) for answer in (record.primary, record.arm_answer))
    return f"{head}{record.arm:12}  {record.outcome:20}  {sides}"


def clock(time_us: int) -> str:
    """A time since the epoch in UTC, to the millisecond; the number where no calendar has it."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat(" ", "milliseconds")[:23]
    except OverflowError:
        return str(time_us)


def _said(answer: Answer | None) -> str:
    if answer is None:
        return "–"
    took = answer.connect_us + answer.queue_us + answer.upstream_us
    return f"{answer.error or answer.status} in {took / 1000:.1f} ms"


def side_by_side(record: PairRecord | Exposure) -> Iterator[str]:
    """Both answers, field by field and line by line; `≠` marks what differs."""
    yield one_line(record)
    if isinstance(record, Exposure):
        yield as_document(record)
        return
    yield f"  {record.method} {record.target}"
    yield f"  unit {record.unit or '(none)'}, bucket {record.bucket}, event time {clock(record.event_time_us)}"
    yield f"  {'':14} {'primary':{COLUMN}}   {record.arm}"
    left, right = _fields(record.primary), _fields(record.arm_answer)
    for name in dict.fromkeys((*left, *right)):
        yield from _row(name, left.get(name, ""), right.get(name, ""))
    bodies = [_body_lines(answer) for answer in (record.primary, record.arm_answer)]
    for number, (one, other) in enumerate(zip_longest(*bodies, fillvalue="")):
        yield from _row("body" if number == 0 else "", one, other)


def _row(name: str, left: str, right: str) -> Iterator[str]:
    """One field, on as many lines as it needs."""
    mark = " " if left == right else "≠"
    cut = [textwrap.wrap(text, COLUMN, break_long_words=True, drop_whitespace=False) or [""] for text in (left, right)]
    for number, (one, other) in enumerate(zip_longest(*cut, fillvalue="")):
        yield f"  {name if number == 0 else '':14} {one:{COLUMN}} {mark} {other}".rstrip()


def _fields(answer: Answer | None) -> dict[str, str]:
    if answer is None:
        return {"status": "(no answer)"}
    shown = {name: str(getattr(answer, name)) for name in Answer.__struct_fields__ if name != "body"}
    return {name: text for name, text in shown.items() if text not in ("", "False", "utf-8", "0") or name == "status"}


def _body_lines(answer: Answer | None) -> list[str]:
    """A body as lines that fit, JSON indented so that like stands beside like; of a long one the beginning."""
    body = answer.body if answer is not None else ""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        body = msgspec.json.format(body, indent=2) if body else ""
    lines = body[: BODY_LINES * COLUMN].splitlines()
    fitting = [line[start : start + COLUMN] for line in lines for start in range(0, max(1, len(line)), COLUMN)]
    shown = [_printable(line) for line in fitting[:BODY_LINES]]
    return [*shown, "… (--json has all)"] if len(fitting) > BODY_LINES or len(body) > BODY_LINES * COLUMN else shown


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor or change its colours."""
    return "".join(each if each.isprintable() else "�" for each in text)


def count(pairs: Iterable[PairRecord]) -> Counts:
    """Pairs by arm: outcomes, and what either side said."""
    arms: Counts = {}
    for record in pairs:
        arm = arms.setdefault(record.arm, {key: Counter() for key in ("outcomes", "primary_status", "arm_status")})
        arm["outcomes"][record.outcome] += 1
        for key, answer in (("primary_status", record.primary), ("arm_status", record.arm_answer)):
            if answer is not None:
                arm[key][answer.error or str(answer.status)] += 1
    return arms


def count_exposures(exposures: Iterable[Exposure]) -> dict[str, dict[str, int]]:
    """By the arm assigned, then by the arm that answered ("" for none)."""
    found: dict[str, Counter[str]] = {}
    for record in exposures:
        found.setdefault(record.assigned, Counter())[record.served] += 1
    return {assigned: dict(row) for assigned, row in found.items()}


def stats_table(
    arms: Counts, exposures: Mapping[str, Mapping[str, int]], health: LogHealth, mark: Watermark
) -> Iterator[str]:
    """The counts as aligned lines."""
    for name, arm in sorted(arms.items()):
        yield f"{name}: {sum(arm['outcomes'].values()):,} records"
        for title, counts in arm.items():
            yield from _counted(title.replace("_", " "), counts)
    for assigned, row in sorted(exposures.items()):
        yield f"assigned to {assigned}: {sum(row.values()):,} exposures"
        yield from _counted("answered by", {served or "(nobody)": number for served, number in row.items()})
    state = "complete" if health.complete else "not complete"
    sizes = f"{health.segments} segments, {health.bytes / 1e6:.1f} MB, {health.incarnations} router incarnations"
    yield f"log: {sizes}, {state}" + (f", {health.erased:,} records erased on request" if health.erased else "")
    yield from _unit_keys(health)
    yield from _dropped(health)
    yield from watermark_lines(mark)


def _unit_keys(health: LogHealth) -> Iterator[str]:
    """The keys that the units of each experiment were made with, where routers told them."""
    for experiment, keys in sorted(routers_by_key(health.key_ids).items()):
        routers = {key_id: f"{len(names)} router{'s' if len(names) > 1 else ''}" for key_id, names in keys.items()}
        yield f"unit keys of {experiment}: {', '.join(f'{key_id} ({count})' for key_id, count in routers.items())}"


def _dropped(health: LogHealth) -> Iterator[str]:
    """What routers dropped before the shipper, and of which nobody knows yet."""
    yield f"dropped by routers: {health.dropped_before_shipping:,}, as they said last"
    for name, until in health.drops_known.items():
        yield f"  {name}: known until {clock(until)} (UTC)"
    for name, since in health.drops_unknown.items():
        yield f"  {name}: unknown since {clock(since) + ' (UTC)' if since else 'its start'}"


def _counted(title: str, counts: Mapping[str, Any]) -> Iterator[str]:
    for key, number in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        yield f"  {title:16}{key:28}{number:>14,}"


def watermark_lines(mark: Watermark) -> Iterator[str]:
    """Up to when the log is complete, and who holds it back or was given up."""
    if mark.arrival_us is not None:
        event = f"to {clock(mark.event_us)} (UTC)" if mark.event_us is not None else "unknown: headers told them"
        yield f"watermark: arrivals to {clock(mark.arrival_us)} (UTC), event times {event}"
    if mark.live:
        yield f"  live: {', '.join(mark.live)}"
    if mark.given_up:
        yield f"  given up as silent: {', '.join(mark.given_up)}"
    if mark.set_back:
        yield f"  clock set back, so earlier watermarks said too much: {', '.join(mark.set_back)}"
