"""Seeded pair logs that look like the demo's: four weeks, repeating users, shared slow hours, lists of ten."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from analysis.adapters import Adapter
from analysis.items import Items, items_of_catalogue, items_of_tail
from analysis.load import Tally, join
from analysis.reading import read_rows
from analysis.triples import Triples
from shadow.contracts import ARM_ERROR, ARM_TIMEOUT, PAIRED, Answer, PairRecord
from tests.shadow.written import incarnation

DAY_US = 86_400_000_000
START_US = 975_715_200_000_000
"""2 December 2000, 00:00 UTC."""
ITEMS = 300
HEAD = 60
POPULAR = tuple(f"i{number}" for number in range(10))
TAIL = frozenset(f"i{number}" for number in range(HEAD, ITEMS))
DEADLINE_US = 2_000_000
CATALOGUE = items_of_catalogue(
    [f"i{number}" for number in range(ITEMS)],
    [number >= HEAD for number in range(ITEMS)],
    [2 * (ITEMS - number) for number in range(ITEMS)],
    [[f"genre {number % 7}", f"genre {number % 5}"] for number in range(ITEMS)],
)


def answer(
    items: Sequence[str] = POPULAR,
    source: str = "popular",
    *,
    version: str = "champion:aaaaaaaaaaaa",
    upstream_us: int = 5000,
    status: int = 200,
    **others: object,
) -> Answer:
    """One arm's answer with the body that the API gives."""
    body = msgspec.json.encode({"request_id": "x", "items": [{"item_id": item} for item in items], "source": source})
    return msgspec.structs.replace(
        Answer(version=version, status=status, upstream_us=upstream_us, body=body.decode()), **others
    )


def record(
    sequence: int = 0,
    *,
    arm: str = "shadow",
    request_id: str | None = None,
    unit: str = "u0",
    event_us: int = START_US,
    primary: Answer | None = None,
    arm_answer: Answer | None = None,
    outcome: str = PAIRED,
    bucket: int = 0,
    incarnation: str = "inc",
    no_primary: bool = False,
) -> PairRecord:
    """One pair with answers that agree, unless told otherwise."""
    return PairRecord(
        request_id=request_id if request_id is not None else f"r{sequence}",
        experiment="demo",
        incarnation=incarnation,
        sequence=sequence,
        arrival_us=event_us,
        event_time_us=event_us,
        method="GET",
        target="/recommend",
        unit=unit,
        bucket=bucket,
        arm=arm,
        outcome=outcome,
        primary=None if no_primary else (primary or answer()),
        arm_answer=arm_answer if arm_answer is not None or outcome != PAIRED else answer(),
    )


@dataclass(frozen=True)
class World:
    """What is simulated. `fallback`: share of known users whom the shadow answers with the popular list."""

    users: int = 400
    known: float = 0.5
    fallback: float = 0.0
    shadow_errors: float = 0.0
    control_errors: float = 0.0
    shadow_empty: float = 0.0
    slower: float = 1.0
    control_fraction: float = 1.0
    seed: int = 1


def simulated(world: World = World()) -> Iterator[PairRecord]:
    """The records of one router, in the order of event time; shadow before control."""
    rng = np.random.default_rng(world.seed)
    people = [_person(rng, world) for _ in range(world.users)]
    slow_hours = rng.lognormal(0, 0.15, size=28 * 24)
    requests = sorted((time, user) for user in range(world.users) for time in people[user]["times"])
    sequence = 0
    for number, (time, user) in enumerate(requests):
        person = people[user]
        pace = 4000 * person["pace"] * slow_hours[min(time // 3_600_000_000, 28 * 24 - 1)]
        primary = answer(person["list"], person["source"], upstream_us=_microseconds(rng, pace))
        for arm in ("shadow", "control"):
            if arm == "control" and person["bucket"] >= world.control_fraction * 1e6:
                continue
            yield record(
                sequence,
                arm=arm,
                request_id=f"r{number}",
                unit=f"u{user}",
                event_us=START_US + time,
                primary=primary,
                bucket=person["bucket"],
                **_arm(rng, world, person, arm, pace),
            )
            sequence += 1


def _person(rng: np.random.Generator, world: World) -> dict:
    start = int(rng.integers(0, 26 * 24)) * 3_600_000_000
    requests = 1 + int(rng.pareto(1.6) * 3) % 60
    known = rng.random() < world.known
    personal = tuple(f"i{number}" for number in rng.choice(ITEMS // 2, size=10, replace=False))
    return {
        "times": [start + int(gap) for gap in np.cumsum(rng.exponential(1200e6, size=requests))],
        "bucket": int(rng.integers(0, 1_000_000)),
        "pace": rng.lognormal(0, 0.2),
        "list": personal if known else POPULAR,
        "source": "hybrid" if known else "popular",
        "falls_back": known and rng.random() < world.fallback,
    }


def _arm(rng: np.random.Generator, world: World, person: dict, arm: str, pace: float) -> dict:
    draw = rng.random()
    if draw < (world.shadow_errors if arm == "shadow" else world.control_errors):
        timed_out = rng.random() < 0.5
        version = "challenger:bbbbbbbbbbbb" if arm == "shadow" else "champion:aaaaaaaaaaaa"
        failed = Answer(version=version, status=0, error="timeout")
        return {"outcome": ARM_TIMEOUT if timed_out else ARM_ERROR, "arm_answer": failed}
    if arm == "control":
        return {"arm_answer": answer(person["list"], person["source"], upstream_us=_microseconds(rng, pace))}
    items, source = (POPULAR, "popular") if person["falls_back"] else (person["list"], person["source"])
    if rng.random() < world.shadow_empty:
        items = ()
    given = answer(
        items, source, version="challenger:bbbbbbbbbbbb", upstream_us=_microseconds(rng, pace * world.slower)
    )
    return {"arm_answer": given}


def _microseconds(rng: np.random.Generator, pace: float) -> int:
    return int(pace * rng.lognormal(0, 0.5))


class TripleReader:
    """Records to triples in one step, with the ids outside the head; `tally` is known once they were read."""

    def __init__(self, adapter: Adapter, tail: Collection[str] | Items) -> None:
        self.adapter = adapter
        self.items = tail if isinstance(tail, Items) else items_of_tail(tail)
        self.tally = Tally()

    def read(self, records: Iterable[PairRecord]) -> Triples:
        """All triples of `records`."""
        triples, self.tally = join(read_rows(records, self.adapter, self.items), self.items)
        return triples


def write_log(directory: Path, records: Sequence[PairRecord], per_segment: int = 500) -> Path:
    """Real segments and a manifest of `records` (of one incarnation); returns the log's location."""
    incarnation(directory, records, per_segment, per_frame=per_segment)
    return directory
