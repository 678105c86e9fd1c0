"""What a plan of `understudy plan new --template ab` decides for the analysis: metrics, errors, arms, and its looks.

Next module: `analysis.ab_cli`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from analysis.ab_judging import Metric
from analysis.looks import SHAPES

NEAR: Final = 0.005
"""A fraction that is said with fewer digits than the plan's is the plan's."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A metric's name is its column. `fractions`: of the users at all looks, empty where there is one at the end."""

    success: tuple[Metric, ...]
    guardrails: tuple[Metric, ...]
    alpha: float
    guardrail_alpha: float
    arms: int
    spending: str | None = None
    fractions: tuple[float, ...] = ()

    def looks_so_far(self, said: Sequence[float], spending: str | None) -> tuple[float, ...]:
        """The looks so far as the plan has them; `ValueError` where they are not the plan's, or none were said."""
        if not self.fractions:
            if said:
                raise ValueError("the plan has one look, when all weeks are over: leave --at out")
            return ()
        if spending not in (None, self.spending):
            raise ValueError(f"the plan's bounds are {self.spending}: leave --spending out")
        times = ", ".join(f"{each:.4g}" for each in self.fractions)
        if not said:
            raise ValueError(
                f"the plan has looks at {times}: say those so far, --at {self.fractions[0]:.4g} at the first, "
                f"--at {times.replace(' ', '')} at the last"
            )
        near = tuple(next((own for own in self.fractions if abs(own - each) < NEAR), each) for each in said)
        if self.spending in SHAPES and near != self.fractions[: len(near)]:
            raise ValueError(f"the plan's bounds ({self.spending}) are fixed: its looks are {times}, from the first on")
        return near


def read_plan(path: Path) -> Planned:
    """The plan of a file; `ValueError` with one line where it is none, `OSError` where it cannot be read."""
    try:
        document = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or document.get("kind") != "ab":
        raise ValueError(f"{path} is no plan of an A/B test")
    try:
        return _planned(document)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: the plan lacks {error}") from error


def _planned(document: dict[str, Any]) -> Planned:
    success = [
        Metric(name=each["name"], numerator=each["name"], harm="higher" if each["effect"] < 0 else "lower")
        for each in document["success"]
    ]
    guardrails = [
        Metric(name=each["name"], numerator=each["name"], margin=float(each["margin"]), harm=each["harm"])
        for each in document["guardrails"]
    ]
    alpha, looks = document["alpha"], document["looks"] or {}
    return Planned(
        success=tuple(success), guardrails=tuple(guardrails), alpha=float(alpha["success_together"]),
        guardrail_alpha=float(alpha["each_guardrail_one_sided"]), arms=int(document["arms"]),
        spending=looks["spending"] if looks else None,
        fractions=tuple(float(each) for each in looks["fractions"]) if looks else (),
    )  # fmt: skip
