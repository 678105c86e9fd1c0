"""The noise floor: how far the control, the primary's own version deployed like the shadow, differs from the primary.

For a deterministic service the lists are identical; where they are not, the pairs of sources that disagree are named,
for they tell a feature that arrived late from a model that was loaded wrongly. Next module: `analysis.sources`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from analysis.estimates import Estimate, mean
from analysis.evidence import known_metrics, request_values
from analysis.measures import MEAN_OF_USERS, MEASURES
from analysis.plan import CONTROL, SHADOW
from analysis.reading import ANSWERED
from analysis.triples import Triples


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Requests on which primary and control gave different lists, by the sources that gave them."""

    primary_source: str
    control_source: str
    requests: int


class Net(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of lists: the shadow's value less the control's, both against the primary, where both were judged.

    A difference in differences: what primary and control have in common falls out, the noise of the control is in the
    interval. Mean over users, limits one-sided at the plan's α; None where there is none.
    """

    name: str
    unit: str
    value: float
    lower: float | None
    upper: float | None


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
    nets: tuple[Net, ...] = ()


def noise_floor(triples: Triples, block_us: int, alpha: float, metrics: Iterable[str] = ()) -> NoiseFloor:
    """Compare primary and control; `triples` must hold both arms. `metrics` are those whose net difference is wanted;
    of them only means of lists have one."""
    control = triples.arms[CONTROL]
    compared = control.state == ANSWERED
    differ = compared & ~control.identical
    names = triples.names
    codes = zip(triples.sources[differ].tolist(), control.sources[differ].tolist(), strict=True)
    kinds = Counter((names[before], names[after]) for before, after in codes)
    net = _net(triples, "long_tail_share", block_us)
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
        nets=tuple(_nets(triples, block_us, alpha, metrics)),
    )


def _nets(triples: Triples, block_us: int, alpha: float, metrics: Iterable[str]) -> Iterator[Net]:
    known = known_metrics(triples.table)
    for name in metrics:
        measure = MEASURES[name]
        if not measure.floored or measure.average != MEAN_OF_USERS or name not in known:
            continue
        net = _net(triples, name, block_us)
        if net is not None:
            lower, upper = net.lower(alpha), net.upper(alpha)
            yield Net(name=name, unit=measure.units[0], value=net.value, lower=lower, upper=upper)


def _net(triples: Triples, name: str, block_us: int) -> Estimate | None:
    judged, first = request_values(triples, name, SHADOW)
    also, second = request_values(triples, name, CONTROL)
    return mean(triples.clusters(block_us).sums(judged & also, first - second), MEAN_OF_USERS, MEASURES[name].span)
