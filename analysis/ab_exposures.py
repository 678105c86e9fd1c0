"""Who took part in a split, from the exposures that the router logged, and what these users did: the outcomes.

A user's arm is the one it was *assigned*, whoever answered: an arm that fails would else lose the users that it failed.
Every exposed user counts; one without a row of outcomes did nothing, which is 0. Next module: `analysis.ab_judging`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.ab import DataError, Floats
from analysis.ab_columns import Columns, Words
from analysis.ab_data import NO_ROW, Rows
from analysis.ab_source import LEAVE_OUT
from shadow.contracts import Exposure
from shadow.segments import ExposureLog, read_exposures
from shadow.units import BUCKETS, key_id_of, unit_of


@dataclass
class Assigned:
    """What the exposures say. `arms`: by unit a set of arms as bits, by their place in `names`."""

    names: list[str]
    arms: dict[str, int] = field(default_factory=dict)
    buckets: dict[str, int] = field(default_factory=dict)
    exposures: list[int] = field(default_factory=lambda: [0])
    elsewhere: list[int] = field(default_factory=lambda: [0])
    anonymous: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, each: Exposure) -> None:
        """Take in one exposure."""
        if not each.unit:
            self.anonymous += 1
            return
        if each.assigned not in self.names:
            self.names.append(each.assigned)
            self.exposures.append(0)
            self.elsewhere.append(0)
        place = self.names.index(each.assigned)
        self.exposures[place] += 1
        self.elsewhere[place] += each.served != each.assigned
        self.arms[each.unit] = self.arms.get(each.unit, 0) | 1 << place
        self.buckets[each.unit] = each.bucket


def read_assigned(
    location: str, experiment: str | None, control: str, since_us: int = 0, key: bytes | None = None
) -> Assigned:
    """The exposures of a log (a directory or a URL) that arrived at `since_us` or later. `key`: of who hashes ids.

    `DataError` where they are of no use; `shadow.segments.PairLogError` where there is no log.
    """
    log = read_exposures(location, experiment)
    experiments = sorted({each.experiment for each in log.incarnations})
    if len(experiments) > 1:
        raise DataError(f"the log has several experiments, say --experiment: {', '.join(experiments)}")
    found = Assigned([control])
    for each in log:
        if each.arrival_us >= since_us:
            found.add(each)
    if not found.arms:
        raise DataError("the log has no exposure of a user: only a router in split mode leaves them")
    if not found.exposures[0]:
        raise DataError(f"no exposure of the control {control!r}; the arms are {', '.join(found.names[1:])}")
    found.problems = log.health.problems()
    _check_keys(log, key)
    return found


def _check_keys(log: ExposureLog, key: bytes | None) -> None:
    ids = sorted({each for each in log.health.key_ids.values() if each})
    if len(ids) > 1:
        raise DataError(f"the log has units of {len(ids)} keys ({', '.join(ids)}): its users would be counted twice")
    if key is not None and ids and key_id_of(key) != ids[0]:
        raise DataError(f"UNDERSTUDY_UNIT_KEY (id {key_id_of(key)}) is not the key of this log (id {ids[0]})")


def joined(
    assigned: Assigned, rule: str, shares: Sequence[float], outcomes: Columns, unit: str, words: Sequence[str],
    key: bytes | None = None,
) -> Rows:  # fmt: skip
    """The outcomes of the exposed users, one row of zeros for who has none. `shares`: planned, the control's first.

    With a `key` the column `unit` has users' ids and not the log's units.
    """
    arms, crossed, said = placed(assigned, rule, shares)
    known = np.array(sorted(arms))
    units = outcomes.words[unit]
    if key is not None:
        units = np.array([unit_of(each.encode(), key) for each in units])
    places = np.minimum(np.searchsorted(known, units), len(known) - 1)
    here = known[places] == units
    if not here.any():
        hint = "" if key is not None else f": {unit!r} must hold the log's units; where it holds ids say --raw-ids"
        raise DataError(f"no row of the outcomes is of an exposed user{hint}")
    absent = np.setdiff1d(np.arange(len(known)), places[here])
    codes = np.concatenate([places[here], absent]).astype(np.intp)
    by_code = np.array([arms[str(each)] for each in known], dtype=np.intp)
    gone = len(set(map(str, units[~here])))
    rows = (
        f"Outcomes: {int(here.sum()):,} rows of exposed users; {len(absent):,} exposed users without a row count as 0; "
        f"{int((~here).sum()):,} rows of {gone:,} users who were not exposed, or are left out."
    )
    return Rows(
        codes, by_code[codes], tuple(assigned.names),
        {name: _with_zeros(each[here], len(absent)) for name, each in outcomes.numbers.items()},
        {name: _with_words(outcomes.words[name][here], len(absent)) for name in words},
        crossed, (exposures_words(assigned), *said, rows, *(f"Log: {each}" for each in assigned.problems)),
    )  # fmt: skip


def _with_zeros(values: Floats, absent: int) -> Floats:
    return np.concatenate([values, np.zeros(absent)])


def _with_words(values: Words, absent: int) -> Words:
    return np.concatenate([values, np.full(absent, NO_ROW)])


def placed(assigned: Assigned, rule: str, shares: Sequence[float]) -> tuple[dict[str, int], int, tuple[str, ...]]:
    """The arm of each user that counts, how many are left out, and what is to be said of those in two arms."""
    crossed = {unit for unit, arms in assigned.arms.items() if arms.bit_count() > 1}
    if rule == LEAVE_OUT:
        kept = {unit: arms.bit_length() - 1 for unit, arms in assigned.arms.items() if unit not in crossed}
        return kept, len(crossed), ()
    if len(assigned.names) != 2 or len(shares) != 2:
        raise DataError("users can be placed by their bucket in a split of two arms only")
    below = round(BUCKETS * shares[1] / sum(shares))
    found = {unit: int(bucket < below) for unit, bucket in assigned.buckets.items()}
    moved = sum(assigned.arms[unit] != 1 << arm for unit, arm in found.items())
    said = f"Users are in the arm of their bucket: {len(crossed):,} were in two arms, {moved:,} in another at times."
    return found, 0, (said,)


def exposures_words(assigned: Assigned) -> str:
    """How many exposures there are, and of how many the assigned arm was not the one that answered."""
    parts: Iterable[str] = (
        f"{name} {number:,} ({elsewhere:,} not answered by it)"
        for name, number, elsewhere in zip(assigned.names, assigned.exposures, assigned.elsewhere, strict=True)
    )
    without = f"; {assigned.anonymous:,} without a user left out" if assigned.anonymous else ""
    return f"Exposures by assigned arm: {', '.join(parts)}{without}."
