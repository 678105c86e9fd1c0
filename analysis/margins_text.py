"""Margins with their reasons as the `metrics` of a plan, to be pasted. Pure. Next module: `analysis.margins_cli`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import yaml

from analysis.margins import MarginError, Variation, can_vary, excluded_by, users_that_count, variation
from analysis.measures import MEASURES
from analysis.triples import Triples
from analysis.wording import shown

NEVER: Final = ("empty_lists", "unknown_items", "repeated_items", "errors")
"""Rates that should be nothing: where they are, a margin below what so many users can exclude could never be passed."""


@dataclass(frozen=True)
class Margin:
    """A guardrail's margin with its reason, or None and why there is none."""

    name: str
    margin: float | None
    reason: str


def margins(
    triples: Triples, names: Sequence[str], *, deadline_ms: float, alpha: float, users: int | None = None
) -> list[Margin]:
    """A margin for each of `names`; `users` are those that the trial will have (the log's own where not said).

    `MarginError` when the log is too short for any.
    """
    return [_margin(triples, name, deadline_ms, alpha, users) for name in names]


def _margin(triples: Triples, name: str, deadline_ms: float, alpha: float, users: int | None) -> Margin:
    why = can_vary(triples, name)
    if why:
        return Margin(name, None, why)
    found = variation(triples, name, deadline_ms)
    own = down(found.own)
    if name in NEVER:
        count = users_that_count(triples, name)
        count *= users / len(np.unique(triples.users)) if users else 1.0
        least = up(excluded_by(count, alpha))
        if least >= 1:
            return Margin(name, None, f"{_moved(found)} {count:.2g} effective users exclude nothing: more are needed.")
        if own <= least:
            return Margin(name, least, f"{_moved(found)} {_excluded(least, count, alpha)}")
    if own > 0:
        return Margin(name, own, f"{_moved(found)} So large a change is seen without any new model.")
    return Margin(name, None, f"{_moved(found)} Nothing is left to go by: take a longer log, or another reason.")


def _excluded(least: float, users: float, alpha: float) -> str:
    """The reason of a margin that is what can be excluded at all."""
    return (
        f"{shown(least, 'rate', sign=False)} is the least that {shown(users, 'count')} effective users exclude when "
        f"not one is seen (rule of three, one-sided {alpha:g})."
    )


def _moved(found: Variation) -> str:
    unit = MEASURES[found.name].units[0]
    levels = " ".join(shown(level, unit, sign=False).removesuffix(" ms") for level in found.levels)
    each = shown(found.seen, unit, sign=False)
    own = "no more than other users would make" if found.own == 0 else f"{shown(found.own, unit, sign=False)} without"
    rest = own if found.own == 0 else f"{own} what other users make"
    return (
        f"The champion's own week-to-week variation: {len(found.changes)} changes from one week to the next, root mean "
        f"square {each}, {rest} (weekly: {levels})."
    )


def down(value: float) -> float:
    """Two significant digits, never more than `value`."""
    return _digits(value, math.floor)


def up(value: float) -> float:
    """Two significant digits, never less than `value`."""
    return _digits(value, math.ceil)


def _digits(value: float, whole: Any) -> float:
    if value <= 0:
        return 0.0
    places = 1 - math.floor(math.log10(value))
    # 1e-9: what two digits tell exactly must not be moved by the binary fraction behind it.
    sign = 1e-9 if whole is math.floor else -1e-9
    return float(round(whole(value * 10.0**places + sign) / 10.0**places, max(places, 0)))


def to_yaml(found: Sequence[Margin]) -> str:
    """`metrics:` of a plan: the guardrails that have a margin; those that have none as comments; all else described."""
    given = [each for each in found if each.margin is not None]
    if not given:
        raise MarginError("; ".join(f"{each.name}: {each.reason}" for each in found))
    guardrails = [_entry(each.name, "guardrail") | {"margin": each.margin, "reason": each.reason} for each in given]
    text = yaml.safe_dump({"metrics": guardrails}, sort_keys=False, allow_unicode=True, width=110)
    lacking = [f"  # {each.name}: {each.reason}" for each in found if each.margin is None]
    described = [f"  - {_flow(_entry(name, 'descriptive'))}" for name in _others({each.name for each in given})]
    # Under the key, as the rest is: a list may stand at its key's own indent, but then comments would look astray.
    indented = "\n".join([text.splitlines()[0], *(f"  {line}" for line in text.splitlines()[1:])])
    return "\n".join([indented, *lacking, *described]) + "\n"


def _others(given: set[str]) -> Iterator[str]:
    return (name for name in MEASURES if name not in given)


def _entry(name: str, role: str) -> dict[str, Any]:
    measure = MEASURES[name]
    return {"name": name, "role": role, "comparison": measure.comparison, "unit": measure.units[0]}


def _flow(entry: dict[str, Any]) -> str:
    return yaml.safe_dump(entry, sort_keys=False, default_flow_style=True, width=1000).strip()
