"""An A/B analysis in words: a table for the terminal, Markdown and JSON with the same numbers.

Next module: `analysis.ab_cli`.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from analysis.ab_judging import HARM, OPEN, WINS, Judged, Line
from analysis.formulas_counts import SRM_ALPHA
from analysis.power_report import markdown_table, short, table

SCHEMA_VERSION: Final = 1
WIDTH: Final = 140
HEAD: Final = ("metric", "arm", "control", "treatment", "difference", "relative", "p", "adjusted p", "decision")


def verdict(judged: Judged) -> str:
    """The outcome in one sentence; never more than the intervals say."""
    if judged.mismatched:
        return (
            f"Sample ratio mismatch (p = {judged.sample_ratio_p:.2g} < {SRM_ALPHA:g}): nothing else is said. Find out "
            "why users are missing before anything is believed."
        )
    guards = [line for line in judged.lines if line.role == "guardrail"]
    won = [line for line in judged.lines if line.decision == WINS]
    parts = [f"{_names(won)} {'win' if len(won) > 1 else 'wins'}" if won else "No success metric is shown to win"]
    for decision, words in ((HARM, "harm is shown by {}"), (OPEN, "not shown to be safe: {}")):
        found = [line for line in guards if line.decision == decision]
        if found:
            parts.append(words.format(_names(found)))
    if guards and len(parts) == 1:
        parts.append("every guardrail passes")
    return "; ".join(parts) + "."


def _names(lines: Sequence[Line]) -> str:
    return ", ".join(dict.fromkeys(line.metric for line in lines))


def health(judged: Judged) -> str:
    """Users of each arm, the sample ratio, who was in two arms, and where the rows come from."""
    arms = ", ".join(f"{name} {count:,}" for name, count in judged.users.items())
    said = f"Users: {arms}; sample ratio p = {judged.sample_ratio_p:.3g}; {judged.crossed:,} in two arms left out."
    return "\n".join([said, *judged.notes])


def row(line: Line) -> tuple[str, ...]:
    """A line as texts; a guardrail's decision says its harm's upper bound against the margin."""
    effect = line.effect
    relative = "–"
    if effect.relative is not None and effect.relative_low is not None and effect.relative_high is not None:
        shares = [short(100 * each) for each in (effect.relative, effect.relative_low, effect.relative_high)]
        relative = f"{shares[0]} % [{shares[1]}, {shares[2]}]"
    decision = line.decision
    if line.margin is not None and line.bound is not None:
        decision = f"{decision}: harm ≤ {short(line.bound)}, margin {short(line.margin)}"
    return (
        line.metric if line.where == "all" else f"{line.metric} ({line.where})", line.arm, short(effect.control),
        short(effect.treatment), f"{short(effect.absolute)} [{short(effect.low)}, {short(effect.high)}]", relative,
        f"{effect.p:.3g}", "" if line.adjusted_p is None else f"{line.adjusted_p:.3g}", decision,
    )  # fmt: skip


def _blocks(judged: Judged) -> list[tuple[str, tuple[Line, ...]]]:
    success = tuple(line for line in judged.lines if line.role == "success")
    guards = tuple(line for line in judged.lines if line.role == "guardrail")
    level = short(100 * (1 - judged.level))
    named = [
        (f"Success metrics ({level} % intervals)", success),
        ("Guardrails (non-inferiority; intervals with the guardrails' error on each side)", guards),
        ("Days (descriptive)", judged.days),
        ("Segments (exploratory; adjusted p by Benjamini and Hochberg)", judged.segments),
    ]
    return [(title, lines) for title, lines in named if lines]


def to_text(judged: Judged) -> str:
    """For a terminal."""
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, legacy_windows=False)
    for title, lines in _blocks(judged):
        out.write(f"\n{title}\n")
        console.print(table(HEAD, [row(line) for line in lines]))
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    return "\n".join([verdict(judged), health(judged), text]).rstrip() + "\n"


def to_markdown(judged: Judged) -> str:
    """For a pull request."""
    parts = [f"**{verdict(judged)}**", *health(judged).splitlines()]
    for title, lines in _blocks(judged):
        parts += [f"## {title}", markdown_table(HEAD, [row(line) for line in lines])]
    return "\n\n".join(parts) + "\n"


def to_json(judged: Judged) -> str:
    """All digits; what is infinite (the degrees of freedom of a z test) is null."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict(judged),
        "users": dict(judged.users),
        "crossed": judged.crossed,
        "notes": list(judged.notes),
        "sample_ratio_p": judged.sample_ratio_p,
        "mismatched": judged.mismatched,
        "level": judged.level,
        "metrics": [_document(line) for line in judged.lines],
        "days": [_document(line) for line in judged.days],
        "segments": [_document(line) for line in judged.segments],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _document(line: Line) -> dict[str, Any]:
    effect = line.effect
    return {
        "metric": line.metric, "role": line.role, "arm": line.arm, "where": line.where, "control": effect.control,
        "treatment": effect.treatment, "users": list(effect.users), "absolute": effect.absolute, "low": effect.low,
        "high": effect.high, "standard_error": effect.error,
        "degrees_of_freedom": None if math.isinf(effect.degrees) else effect.degrees, "p": effect.p,
        "adjusted_p": line.adjusted_p, "relative": effect.relative, "relative_low": effect.relative_low,
        "relative_high": effect.relative_high, "decision": line.decision, "margin": line.margin,
        "harm_bound": line.bound, "r_squared": line.explained,
    }  # fmt: skip
