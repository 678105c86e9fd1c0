"""Loss, proven: kill −9 of router and shipper at random moments, under real traffic, through the real processes.

Users, routers and reader must agree: closed segments are whole, what is lost was decided in the second before a kill,
and of every router that ended in order the sequence numbers tell how much.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest
import zstandard

from shadow.contracts import PairRecord
from shadow.log_health import LogHealth
from shadow.segments import read_pairs
from tests.shadow.router.troupe import Life, Troupe, troupe

KILLS: Final = int(os.environ.get("UNDERSTUDY_TEST_KILLS", "200"))
"""Of the long test; some blows are two kills, some are none."""
SECOND: Final = 1.0
"""What a kill may cost of what was decided (DESIGN §4)."""
GRACE: Final = 0.1
"""From the user's answer to the decision of the pair, and from the kill to its noting."""


@pytest.mark.timeout(400)
async def test_a_few_kills_cost_at_most_a_second_each_and_the_gaps_are_known(tmp_path: Path) -> None:
    await killed(tmp_path, kills=8, seed=8)


@pytest.mark.long
@pytest.mark.timeout(3_600)
async def test_two_hundred_kills_cost_at_most_a_second_each_and_the_gaps_are_known(tmp_path: Path) -> None:
    await killed(tmp_path, kills=KILLS, seed=200)


async def killed(directory: Path, kills: int, seed: int) -> None:
    rng, destination, seen = Random(seed), directory / "log", set[Path]()
    where = ("--destination", destination.as_uri(), "--segment-bytes", "20000", "--segment-seconds", "0.7")
    async with troupe(directory, *where) as play:
        for _ in range(kills):
            # A router that has not found its shipper yet holds more than a second, and would lose it: two failures at
            # once, which nothing is promised for.
            await play.connected()
            await asyncio.sleep(rng.uniform(0.0, 1.5))
            await interrupt(play, rng.choice(("router", "shipper", "both", "orderly", "again")), rng)
            for path in closed(directory, seen):
                whole(path)
        await asyncio.sleep(1.0)  # the last router has something to lose, too
        await play.rest()
        counts, last = await play.counts(), await ended(play)
        assert await play.stop("shipper") == 0
    agree(play, destination)
    log = read_pairs(destination / "troubled" / counts.incarnation)
    found = len(list(log))
    assert len(last.asked) == len(last.answered) == counts.arms["shadow"].received == counts.pair_log.numbered
    assert found + log.health.missing == counts.pair_log.numbered
    assert log.health.dropped_before_shipping == counts.pair_log.dropped


async def interrupt(play: Troupe, what: str, rng: Random) -> None:
    """One blow, and the restart of what it hit."""
    if what == "orderly":
        await ended(play)
    if what in ("router", "both"):
        await play.kill("router")
    if what in ("shipper", "both"):
        await play.kill("shipper")
        await play.start_shipper()
    if what == "again":  # while it starts, or takes what the router held
        for _ in range(2):
            await play.kill("shipper")
            await play.start_shipper()
            await asyncio.sleep(rng.uniform(0.0, 1.5))
    if what in ("router", "both", "orderly"):
        await play.start_router()


async def ended(play: Troupe) -> Life:
    """The router is told to stop, and has its time; what it counted is kept."""
    life = play.lives[-1]
    assert await play.stop("router") == 0
    life.orderly = True
    return life


def closed(directory: Path, seen: set[Path]) -> Iterator[Path]:
    """Closed segments, in the spool or uploaded, that were not looked at before."""
    for path in {*directory.glob("spool/*/*/*.zst"), *directory.glob("log/*/*/*.zst")} - seen:
        seen.add(path)
        yield path


def whole(path: Path) -> None:
    """A segment that has its final name can be read to its end, whatever was killed. (It may be uploaded meanwhile.)"""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        assert frame.decompress(data).endswith(b"\n")
        assert frame.eof, f"{path} is torn"
        data = frame.unused_data


def agree(play: Troupe, destination: Path) -> None:
    """What the users saw, against what the reader finds."""
    by_life: dict[int, tuple[list[PairRecord], LogHealth]] = {}
    for directory in destination.glob("*/*/"):
        log = read_pairs(directory)
        records = list(log)
        health = log.health
        assert (health.torn, health.checksum_failures, health.absent, health.unlisted) == ([], [], [], [])
        assert (health.duplicates, health.foreign, health.undecodable, health.unclosed) == (0, 0, 0, [])
        assert health.without_manifest == []
        for number in {int(record.request_id.split("-")[0]) for record in records}:
            assert number not in by_life, "one router, one incarnation"
            by_life[number] = records, health
    lost_in_all, ages = 0, list[tuple[float, float]]()
    for life in play.lives:
        records, health = by_life.get(life.number, ([], LogHealth()))
        logged = {record.request_id for record in records}
        assert len(logged) == len(records)
        assert logged <= life.asked
        lost = set(life.answered) - logged
        lost_in_all += len(lost)
        for name in lost:
            ages.append(age_at_its_kill(life.answered[name], play))
        # Whether a router got a question that it did not live to answer, only its numbers can tell.
        unanswered = life.asked - set(life.answered) - logged
        assert health.missing <= len(lost) + len(unanswered)
        if life.orderly:
            assert health.missing >= len(lost)
            assert health.unfinished == []
        for moment in life.failed:
            assert moment >= life.died > 0, "a user was not answered while the router lived"
    asked = sum(len(life.asked) for life in play.lives)
    excess = [age - allowed for age, allowed in ages]
    assert max(excess, default=0) <= 0, f"lost {max(excess)} s too old, of {len(ages)} pairs lost: {sorted(ages)[-5:]}"
    oldest, beyond = max([age for age, _ in ages], default=0.0), sum(age > SECOND for age, _ in ages)
    print(
        f"\n{len(play.kills)} kills, {asked} questions, {lost_in_all} pairs lost, the oldest {oldest:.3f} s before its "
        f"kill, {beyond} of them beyond a second"
    )


def age_at_its_kill(moment: float, play: Troupe) -> tuple[float, float]:
    """How long before the kill that cost it a pair was decided, and what is allowed: a second, give or take what this
    machine's scheduler was late just then."""
    after = [kill for kill in play.kills if kill + GRACE + play.late(kill) >= moment]
    assert after, "a pair was lost after the last kill"
    kill = min(after)
    return kill - moment, SECOND + GRACE + play.late(kill)
