"""The store gone, the disk full or not to be written, the clock jumping: users are answered as if nothing were, and
afterwards the log is complete, or what is missing is counted. Real router, real shipper, real users."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from shadow.accounting import RouterCounts
from shadow.contracts import OLDEST, PairRecord
from shadow.processes import Stage
from shadow.segments import PairLog, read_manifest, read_pairs
from tests.shadow.router.stores import WRITER, Gateway
from tests.shadow.router.troupe import Life, Troupe, troupe
from tests.shadow.router.volumes import volume

BRIEF = ("--segment-bytes", "20000", "--segment-seconds", "0.5", "--retry-seconds", "0.5")


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def answered(play: Troupe, more: int) -> None:
    """Until the users have so many more answers."""
    life = play.lives[-1]
    wanted = len(life.answered) + more
    await until(lambda: len(life.answered) >= wanted)


async def finished(play: Troupe) -> RouterCounts:
    """Everybody stops in order; every question was answered. The router's counters."""
    await play.rest()
    counts = await play.counts()
    assert await play.stop("router") == 0
    assert await play.stop("shipper") == 0
    (life,) = play.lives
    assert life.failed == []
    assert len(life.answered) == len(life.asked) == counts.arms["shadow"].received == counts.pair_log.numbered
    return counts


def read(location: Path) -> tuple[list[PairRecord], PairLog]:
    log = read_pairs(location, "troubled")
    return list(log), log


async def test_a_store_that_goes_and_comes_back_has_everything_in_the_end(tmp_path: Path) -> None:
    with Stage(tmp_path / "store-logs", dict(os.environ)) as stage:
        gateway = await asyncio.to_thread(Gateway.opened, stage, tmp_path / "gateway")
        where = ("--destination", "s3://pairs/shop", "--endpoint", gateway.url, *BRIEF)
        async with troupe(tmp_path, *where, environment=WRITER) as play:
            await until(lambda: list(gateway.bucket.glob("shop/*/*/*.zst")))
            await asyncio.to_thread(gateway.stop)
            await until(lambda: len(list(play.spool.glob("*/*/*.zst"))) >= 3)
            await answered(play, 200)
            await asyncio.to_thread(gateway.start)
            counts = await finished(play)
        records, log = read(gateway.bucket / "shop")
    assert len(records) == counts.pair_log.numbered
    assert log.health.complete
    assert log.health.problems() == []


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_store_that_is_gone_for_two_minutes_has_everything_in_the_end(tmp_path: Path) -> None:
    """By the clock, with the shipper's own pauses between attempts; printed with -s."""
    with Stage(tmp_path / "store-logs", dict(os.environ)) as stage:
        gateway = await asyncio.to_thread(Gateway.opened, stage, tmp_path / "gateway")
        where = ("--destination", "s3://pairs/shop", "--endpoint", gateway.url, "--segment-seconds", "5")
        async with troupe(tmp_path, *where, environment=WRITER) as play:
            await until(lambda: list(gateway.bucket.glob("shop/*/*/*.zst")))
            life, before = play.lives[-1], time.monotonic()
            await asyncio.sleep(30)
            usual = rate(life, before)
            await asyncio.to_thread(gateway.stop)
            gone = time.monotonic()
            await asyncio.sleep(120)
            meanwhile, waiting = rate(life, gone), len(list(play.spool.glob("*/*/*.zst")))
            assert waiting >= 20
            await asyncio.to_thread(gateway.start)
            back = time.monotonic()
            await until(lambda: len(list(play.spool.glob("*/*/*.zst"))) <= 1, 120)
            caught_up = time.monotonic() - back
            counts = await finished(play)
        records, log = read(gateway.bucket / "shop")
    print(f"{usual:.0f} answers a second before, {meanwhile:.0f} while the store was away for {back - gone:.0f} s;")
    print(f"{waiting} segments waited and were uploaded {caught_up:.1f} s after it came back; {len(records):,} records")
    assert len(records) == counts.pair_log.numbered
    assert log.health.complete
    assert log.health.problems() == []


def rate(life: Life, since: float) -> float:
    """Answers a second to the users, from then to now."""
    return sum(when >= since for when in life.answered.values()) / (time.monotonic() - since)


async def test_a_disk_that_is_really_full_costs_what_is_counted_and_is_written_again_once_it_has_room(
    tmp_path: Path,
) -> None:
    with volume(tmp_path / "spool", "4m") as disk:
        async with troupe(tmp_path, "--destination", (tmp_path / "log").as_uri(), *BRIEF) as play:
            await until(lambda: list(tmp_path.glob("log/*/*/*.zst")))
            while disk.has_room:  # a segment that was under way makes room once more
                disk.fill()
                await answered(play, 500)
            disk.empty()
            before = set(tmp_path.glob("log/*/*/*.zst"))
            await until(lambda: set(tmp_path.glob("log/*/*/*.zst")) - before)
            counts = await finished(play)
        left = sorted(path.name for path in disk.path.glob("*/*/*.zst*"))
    records, log = read(tmp_path / "log")
    health = log.health
    print(f"{len(records):,} records, {health.dropped_by_shipper:,} given up, {counts.pair_log.dropped} by the router")
    assert health.dropped_by_shipper > 0
    assert counts.pair_log.dropped == 0
    assert len(records) + health.dropped_by_shipper == counts.pair_log.numbered
    assert health.missing == health.dropped_by_shipper
    assert (health.torn, health.checksum_failures, health.unclosed, left) == ([], [], [], [])
    assert health.complete


async def test_on_a_volume_that_is_really_read_only_no_shipper_starts_and_nothing_is_lost_unseen_until_one_does(
    tmp_path: Path,
) -> None:
    """One that becomes so under a running shipper cannot be had here (busy): see the stand-in below."""
    with volume(tmp_path / "spool", "4m", "ro") as disk:
        async with troupe(tmp_path, "--destination", (tmp_path / "log").as_uri(), *BRIEF) as play:
            await answered(play, 200)
            assert await play.stop("shipper") == 2
            assert f"Read-only file system: '{disk.path}/" in (tmp_path / "logs" / "shipper.log").read_text()
            disk.remount("rw")
            await play.start_shipper()
            await until(lambda: list(tmp_path.glob("log/*/*/*.zst")))
            counts = await finished(play)
    records, log = read(tmp_path / "log")
    health = log.health
    print(f"{len(records):,} records, {health.dropped_by_shipper} given up, {counts.pair_log.dropped:,} by the router")
    assert health.missing == health.dropped_before_shipping == counts.pair_log.dropped
    assert len(records) + health.missing == counts.pair_log.numbered
    assert health.complete


async def test_what_a_full_disk_refuses_is_counted_to_the_last_record(tmp_path: Path) -> None:
    """A limit on the size of a file stands in for the full disk; segments are larger."""
    where = ("--destination", (tmp_path / "log").as_uri(), "--segment-bytes", "4000000")
    async with troupe(tmp_path, *where, file_limit="16") as play:
        await answered(play, 1_500)
        counts = await finished(play)
    records, log = read(tmp_path / "log")
    health = log.health
    assert health.dropped_by_shipper > 0
    assert counts.pair_log.dropped == 0
    assert len(records) + health.dropped_by_shipper == counts.pair_log.numbered
    assert health.missing == health.dropped_by_shipper
    assert (health.torn, health.checksum_failures) == ([], [])
    assert health.complete


async def test_while_the_spool_cannot_be_written_all_is_counted_and_afterwards_it_is_written_again(
    tmp_path: Path,
) -> None:
    """A file in the place of the experiment's directory stands in for the read-only volume, whoever runs the tests."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "troubled").touch()
    async with troupe(tmp_path, "--destination", (tmp_path / "log").as_uri(), *BRIEF) as play:
        await answered(play, 300)
        (tmp_path / "spool" / "troubled").unlink()
        await until(lambda: list(tmp_path.glob("log/*/*/*.zst")))
        counts = await finished(play)
    records, log = read(tmp_path / "log")
    assert log.health.missing == log.health.dropped_by_shipper >= 300
    assert len(records) + log.health.dropped_by_shipper == counts.pair_log.numbered
    assert log.health.complete


async def test_a_wall_clock_that_jumps_back_and_forth_changes_neither_names_nor_order_nor_ages(tmp_path: Path) -> None:
    """Every half second of the monotonic clock it is an hour earlier or later, in both processes."""
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(
        "import time\n"
        "wall, wall_ns = time.time, time.time_ns\n"
        "def offset(): return 3_600 if int(time.monotonic() * 2) % 2 else -3_600\n"
        "time.time = lambda: wall() + offset()\n"
        "time.time_ns = lambda: wall_ns() + offset() * 10**9\n"
    )
    where = ("--destination", (tmp_path / "log").as_uri(), "--segment-seconds", "1")
    async with troupe(tmp_path, *where, python_path=patch) as play:
        await until(lambda: len(list(tmp_path.glob("log/*/*/*.zst"))) >= 3)
        counts = await finished(play)
    records, log = read(tmp_path / "log")
    assert [record.sequence for record in records] == list(range(counts.pair_log.numbered))
    assert log.health.problems() == []
    assert log.health.complete
    jumps = [abs(b.arrival_us - a.arrival_us) for a, b in pairwise(records)]
    assert max(jumps) > 3_600_000_000, "the clock did jump"
    taken = [record.primary.upstream_us for record in records if record.primary]
    assert 0 <= min(taken) <= max(taken) < 60_000_000


@pytest.mark.parametrize("policy", ["drop_oldest", "stop_mirroring"])
async def test_a_spool_that_fills_up_never_exceeds_its_bound_and_says_what_it_gave_up(
    tmp_path: Path, policy: str
) -> None:
    with Stage(tmp_path / "store-logs", dict(os.environ)) as stage:
        gateway = await asyncio.to_thread(Gateway.opened, stage, tmp_path / "gateway")
        await asyncio.to_thread(gateway.stop)
        bound = ("--segment-bytes", "40000", "--spool-bytes", "200000", "--when-full", policy)
        where = ("--destination", "s3://pairs/shop", "--endpoint", gateway.url, "--retry-seconds", "0.5", *bound)
        async with troupe(tmp_path, *where, environment=WRITER) as play:
            if policy == "stop_mirroring":
                async with asyncio.timeout(60):
                    while not (await play.counts()).arms["shadow"].outcomes["dropped:log_full"]:
                        await asyncio.sleep(0.05)
            else:
                # The very first goes too, once it is not just being tried.
                await until(lambda: oldest_given_up(play.spool) == 0)
            await answered(play, 200)
            assert sum(path.stat().st_size for path in play.spool.glob("*/*/*.zst*")) <= 200_000
            await asyncio.to_thread(gateway.start)
            await until(lambda: list(gateway.bucket.glob("shop/*/*/*.zst")))
            counts = await finished(play)
        records, log = read(gateway.bucket / "shop")
    health = log.health
    assert health.missing == health.dropped_by_shipper + health.dropped_before_shipping > 0
    assert len(records) + health.missing == counts.pair_log.numbered
    assert health.dropped_before_shipping == counts.pair_log.dropped
    if policy == "drop_oldest":
        assert counts.pair_log.dropped == 0
        assert records[0].sequence > 0
    else:
        assert counts.pair_log.dropped >= counts.arms["shadow"].outcomes["dropped:log_full"] > 0
        assert records[0].sequence == 0


def oldest_given_up(spool: Path) -> int | None:
    """The lowest number that was given up for newer ones, as the manifest tells; the oldest of all is not while it is
    just being put."""
    told = (read_manifest(path) for path in spool.glob("*/*/manifest.json"))
    drops = [drop for manifest in told if manifest for drop in manifest.drops if drop.reason == OLDEST]
    return min((drop.first_sequence for drop in drops), default=None)
