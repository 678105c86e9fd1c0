"""The verdict of a Job: what the gate leaves in its pod's termination message, at most 4 KiB of JSON.

The kubelet keeps no more; the operator reads it from the pod's status. Next module: `analysis.cli`.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from analysis.report.result import Result
from analysis.verdict import ERROR, EXIT_CODES, PASS

MOST_BYTES: Final = 4096
"""What Kubernetes keeps of a termination message."""
MOST_REASON: Final = 400
"""Bytes of one reason; the report has the whole of it."""
CUT: Final = "…"
"""Where a text was cut."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The verdict, what it was judged by, where its report is, and as many reasons as there is room for."""

    schema_version: int = 1
    verdict: str
    exit_code: int
    experiment: str = ""
    with_note: bool = False
    watermark_us: int = 0
    plan_sha256: str = ""
    report_sha256: str = ""
    report_url: str = ""
    reasons: tuple[str, ...] = ()
    reasons_left_out: int = 0


def message(result: Result, report: bytes, report_url: str = "") -> bytes:
    """The message of a judged log; `report` are the bytes of report.json."""
    base = Message(
        verdict=result.verdict,
        exit_code=EXIT_CODES[result.verdict],
        experiment=_cut(result.experiment),
        with_note=result.verdict == PASS and any(each.decision == "pass_with_note" for each in result.metrics),
        watermark_us=result.window.watermark_us if result.window else 0,
        plan_sha256=result.plan.sha256,
        report_sha256=hashlib.sha256(report).hexdigest(),
        report_url=_cut(report_url),
    )
    return _fitted(base, result.reasons)


def failure(reason: str) -> bytes:
    """The message when nothing could be judged or written: a wrong plan, a full disk."""
    return _fitted(Message(verdict=ERROR, exit_code=EXIT_CODES[ERROR]), (reason,))


def _fitted(base: Message, reasons: tuple[str, ...]) -> bytes:
    """The weightiest reasons, as many as fit."""
    some = tuple(_cut(each) for each in reasons)
    for kept in range(len(some), -1, -1):
        told = msgspec.structs.replace(base, reasons=some[:kept], reasons_left_out=len(some) - kept)
        text = msgspec.json.encode(told)
        if len(text) <= MOST_BYTES:
            break
    return text


def _cut(text: str) -> str:
    raw = text.encode()
    return text if len(raw) <= MOST_REASON else raw[: MOST_REASON - len(CUT.encode())].decode(errors="ignore") + CUT
