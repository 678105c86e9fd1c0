"""The noise floor: how far the control, the primary's own version deployed like the shadow, differs from the primary.

For a deterministic service the lists are identical; where they are not, the pairs of sources that disagree are named,
for they tell a feature that arrived late from a model that was loaded wrongly. Next module: `analysis.sources`.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from analysis.aggregates import cell_sums, time_blocks
from analysis.estimates import mean
from analysis.load import ANSWERED, Triples
from analysis.measures import MEAN_OF_USERS
from analysis.plan import CONTROL, SHADOW


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Requests on which primary and control gave different lists, by the sources that gave them."""

    primary_source: str
    control_source: str
    requests: int


class NoiseFloor(msgspec.Struct, frozen=True, kw_only=True):
    """Control against primary where both answered, and the difference-in-differences of the long-tail share.

    `long_tail_net` is (shadow − primary) − (control − primary) on requests judged for both arms, mean over users: what
    is left of the shadow's difference when the control's own is taken off. Limits are one-sided at the plan's α.
    """

    compared: int
    identical: int
    disagreements: tuple[Disagreement, ...]
    long_tail_net: float | None = None
    long_tail_net_lower: float | None = None
    long_tail_net_upper: float | None = None


def noise_floor(triples: Triples, block_us: int, alpha: float) -> NoiseFloor:
    """Compare primary and control; `triples` must hold both arms."""
    control, shadow = triples.arms[CONTROL], triples.arms[SHADOW]
    compared = control.state == ANSWERED
    differ = compared & ~control.identical
    names = triples.names
    codes = zip(triples.sources[differ].tolist(), control.sources[differ].tolist(), strict=True)
    kinds = Counter((names[before], names[after]) for before, after in codes)
    both = shadow.judged & control.judged
    blocks = time_blocks(triples.event_us[both], block_us)
    net = mean(cell_sums(triples.users[both], blocks, (shadow.tail - control.tail)[both]), MEAN_OF_USERS)
    return NoiseFloor(
        compared=int(compared.sum()),
        identical=int((compared & control.identical).sum()),
        disagreements=tuple(
            Disagreement(primary_source=primary, control_source=other, requests=count)
            for (primary, other), count in sorted(kinds.items(), key=lambda each: (-each[1], each[0]))
        ),
        long_tail_net=net.value if net else None,
        long_tail_net_lower=net.lower(alpha) if net else None,
        long_tail_net_upper=net.upper(alpha) if net else None,
    )
