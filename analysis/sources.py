"""Where a difference comes from: which rung of the ladder answered in each arm, and what each change of rung cost.

A shadow that silently falls back more often than the primary shows here first. Descriptive, it decides nothing.
Next module: `analysis.health`.
"""

from __future__ import annotations

import msgspec
import numpy as np

from analysis.plan import SHADOW
from analysis.triples import Triples

UNNAMED = "(not named)"


class SourceShare(msgspec.Struct, frozen=True, kw_only=True):
    """The share of an arm's judged requests that one source answered; None where the arm was not judged at all."""

    source: str
    primary: float | None
    control: float | None
    shadow: float | None


class SourceChange(msgspec.Struct, frozen=True, kw_only=True):
    """The requests that the primary answered from one source and the shadow from another (or the same).

    `long_tail_difference` is their mean difference with each request weighted as in the estimate; the `contribution`s
    of all rows add up to the long-tail estimate.
    """

    primary_source: str
    shadow_source: str
    requests: int
    users: int
    long_tail_difference: float
    contribution: float


def source_shares(triples: Triples) -> tuple[SourceShare, ...]:
    """One row per source seen in any arm, in alphabetical order; an arm's shares add up to 1."""
    sides = {"primary": triples.sources}
    sides |= {name: arm.sources[arm.judged] for name, arm in triples.arms.items()}
    counts = {side: np.bincount(column, minlength=len(triples.names)) for side, column in sides.items()}
    names = sorted({triples.names[code] for each in counts.values() for code in np.flatnonzero(each)})

    def share(side: str, name: str) -> float | None:
        column = counts.get(side)
        if column is None or not column.sum():
            return None
        return float(column[triples.names.index(name)] / column.sum())

    return tuple(
        SourceShare(
            source=name or UNNAMED,
            primary=share("primary", name),
            control=share("control", name),
            shadow=share("shadow", name),
        )
        for name in names
    )


def source_changes(triples: Triples) -> tuple[SourceChange, ...]:
    """One row per pair of sources among the requests judged for the shadow, largest contribution (by size) first."""
    judged = triples.take(triples.arms[SHADOW].judged)
    if not len(judged):
        return ()
    shadow = judged.arms[SHADOW]
    users = np.unique(judged.users, return_inverse=True)[1]
    per_user = np.bincount(users)
    weights = 1 / (len(per_user) * per_user[users])
    differences = shadow.tail - judged.tail
    names, rows = triples.names, []
    changes = judged.sources.astype(np.int64) * len(names) + shadow.sources
    for change in np.unique(changes):
        here = changes == change
        before, after = names[change // len(names)], names[change % len(names)]
        contribution = float((weights * differences)[here].sum())
        rows.append(
            SourceChange(
                primary_source=before or UNNAMED,
                shadow_source=after or UNNAMED,
                requests=int(here.sum()),
                users=len(np.unique(users[here])),
                long_tail_difference=contribution / float(weights[here].sum()),
                contribution=contribution,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-abs(row.contribution), row.primary_source, row.shadow_source)))
