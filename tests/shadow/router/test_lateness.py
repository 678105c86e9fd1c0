"""How late a record may come is what the deadlines say, and the shipper hears when it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from shadow.contracts import Goodbye, Hello
from shadow.router.config import Arm, Primary, RouterConfig, Split
from shadow.router.growing import Spool
from shadow.router.lateness import undecided_us
from shadow.router.pairlog import PairLog
from shadow.router.shipper import Shipper
from shadow.router.shipper_settings import ShipperSettings
from shadow.router.spool import IncarnationLog
from shadow.router.store import Store
from shadow.segment_recovery import recover
from shadow.segments import read_manifest
from tests.shadow.router.harness import Collector, until
from tests.shadow.router.test_pairlog import path  # noqa: F401 - a fixture

SECOND = 1_000_000
COMING = 20 * SECOND
"""A request may take so long to come."""
SLOW = Arm(name="slow", url="http://127.0.0.1:1", deadline_ms=3_000, queue_seconds=4.0)
PATIENT = Arm(name="patient", url="http://127.0.0.1:2", deadline_ms=1_000, queue_seconds=9.0)


def config(*arms: Arm, split: str = "") -> RouterConfig:
    return RouterConfig(
        experiment="e",
        listen="127.0.0.1:3",
        admin="127.0.0.1:4",
        shipper="s",
        primary=Primary(url="http://127.0.0.1:5", deadline_ms=2_000),
        arms=arms,
        mode="split" if split else "mirror",
        split=Split(arm=split, fraction=0.1) if split else None,
    )


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        (config(), 2),
        (config(SLOW), 2 + 4 + 3),
        (config(SLOW, PATIENT), 2 + 9 + 1),
        (config(SLOW, PATIENT, split="slow"), 3 + 2 + 9 + 1),
    ],
)
def test_it_is_the_sum_of_the_waits_on_the_longest_way(wanted: RouterConfig, seconds: int) -> None:
    assert undecided_us(wanted) == COMING + seconds * SECOND


async def test_a_longer_deadline_is_said_in_another_hello_and_a_shorter_one_is_not(path: Path) -> None:  # noqa: F811
    hello = Hello(experiment="e", incarnation="i", router="r", started_us=1, undecided_us=5)
    log, collector = PairLog(str(path), hello), Collector()
    async with await asyncio.start_unix_server(collector.serve, str(path)):
        await until(lambda: collector.frames)
        log.promise(4)
        log.promise(6)
        log.promise(6)
        await log.close(5)
        await asyncio.wait_for(collector.ended.wait(), 60)
    told = [frame["undecided_us"] for frame in collector.frames if frame["record"] == "hello"]
    assert told == [5, 6]


def settings(directory: Path) -> ShipperSettings:
    return ShipperSettings(
        socket=directory / "s", spool=directory / "spool", destination=(directory / "log").as_uri(), segment_seconds=7.5
    )


async def test_the_manifest_tells_the_longest_that_the_router_ever_had_and_the_age_of_segments(tmp_path: Path) -> None:
    shipper = Shipper(settings(tmp_path), Store(settings(tmp_path)))
    for longest in (30, 40, 35):
        shipper.log_of(Hello(experiment="e", incarnation="i", router="r", started_us=1, undecided_us=longest))
    await shipper.ship()
    manifest = read_manifest(tmp_path / "log" / "e" / "i" / "manifest.json")
    assert manifest is not None
    assert (manifest.undecided_us, manifest.segment_us) == (40, 7_500_000)


async def test_who_wrote_a_log_whose_manifest_was_lost_is_known_again_when_its_router_says_hello(
    tmp_path: Path,
) -> None:
    log = IncarnationLog.open(
        Spool.of(settings(tmp_path)), Hello(experiment="e", incarnation="i", router="", started_us=0)
    )
    log.append(b'{"sequence":0,"event_time_us":1,"arrival_us":1}', 0, 1, 0.0, 1)
    log.flush()
    shipper = Shipper(settings(tmp_path), Store(settings(tmp_path)))
    (found,) = shipper.logs.values()
    assert (found.manifest.router, found.manifest.started_us) == ("unknown", 0)
    assert shipper.log_of(Hello(experiment="e", incarnation="i", router="r", started_us=7)) is found
    assert (found.manifest.router, found.manifest.started_us) == ("r", 7)


async def test_each_segment_tells_how_many_event_times_came_in_a_header_also_after_a_kill(tmp_path: Path) -> None:
    log = IncarnationLog.open(
        Spool.of(settings(tmp_path)), Hello(experiment="e", incarnation="i", router="r", started_us=1)
    )
    for number, event_us in enumerate((10, 11, 99, 5)):
        line = msgspec.json.encode({"sequence": number, "event_time_us": event_us, "arrival_us": 10 + number})
        log.append(line, number, event_us, 0.0, 10 + number)
    log.flush()
    (grown,) = log.directory.glob("*.open")
    copy = tmp_path / grown.name
    copy.write_bytes(grown.read_bytes())
    log.finish(Goodbye(incarnation="i", records=4, dropped=0))
    await log.settle()
    (entry,) = log.manifest.segments
    assert entry.header_times == 2
    assert recover(copy) == entry
