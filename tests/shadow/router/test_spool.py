"""The spool under a disk that refuses and a bound that is reached: nothing shipped twice, nothing forgotten too early,
nothing gone uncounted, nobody else disturbed."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from shadow.contracts import DISK, OLDEST, SPOOL_FULL, Goodbye, Heartbeat, Hello
from shadow.durable_files import write_atomically
from shadow.incarnations import find_incarnations
from shadow.router.growing import Spool
from shadow.router.leftovers import left_over
from shadow.router.shipper import Shipper
from shadow.router.shipper_settings import ShipperSettings
from shadow.router.spool import MANIFEST_SECONDS, IncarnationLog
from shadow.router.store import Store
from shadow.router.stream import Stream
from shadow.segments import MANIFEST, Reading, read_manifest


class Disk:
    """Lets `fsync` fail while it is full, and refuses to open or remove files of some names, as if read-only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.synced = 0
        self._refused: tuple[str, ...] = ()
        self._fsync, self._open, self._unlink = os.fsync, os.open, os.unlink
        for name in ("fsync", "open", "unlink"):
            monkeypatch.setattr(os, name, getattr(self, name))

    def refuse(self, *names: str) -> None:
        self._refused = names

    def open(self, path: Any, flags: int, *others: Any, **more: Any) -> int:
        self._check(path, bool(flags & os.O_CREAT))
        return self._open(path, flags, *others, **more)

    def unlink(self, path: Any, **more: Any) -> None:
        self._check(path, True)
        self._unlink(path, **more)

    def _check(self, path: Any, writing: bool) -> None:
        if writing and Path(path).name in self._refused:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def fsync(self, file: int) -> None:
        self.synced += 1
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._fsync(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., ShipperSettings]:
    def made(**changes: Any) -> ShipperSettings:
        base = {"segment_bytes": 1 << 20, "segment_seconds": 300.0, "destination": (tmp_path / "log").as_uri()}
        return ShipperSettings(socket=tmp_path / "s", spool=tmp_path / "spool", **base | changes)

    return made


def opened(spool: Spool, incarnation: str = "one") -> IncarnationLog:
    return IncarnationLog.open(spool, Hello(experiment="test", incarnation=incarnation, router="here", started_us=1))


def line(sequence: int, body: str = "") -> bytes:
    return msgspec.json.encode({"record": "pair", "sequence": sequence, "event_time_us": 1, "body": body})


def closed(log: IncarnationLog, sequence: int) -> None:
    """A segment of one record, for the disk to close."""
    log.append(line(sequence), sequence, 1, now=0.0)
    log.close_segment()


def noise(size: int) -> str:
    """What does not compress below half."""
    return random.Random(size).randbytes(size).hex()


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left_beside_it(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "manifest.json"
    write_atomically(path, b"old")
    disk.full = True
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("manifest.json", b"old")]


async def test_a_segment_that_cannot_be_closed_at_the_goodbye_is_closed_later_and_not_forgotten(
    tmp_path: Path, disk: Disk, settings: Callable[..., ShipperSettings]
) -> None:
    log, store = opened(Spool.of(settings())), Store(settings())
    log.append(line(0), 0, 1, now=0.0)
    disk.full = True
    log.finish(Goodbye(incarnation="one", records=1, dropped=0))
    await log.settle()
    assert not log.shipped
    disk.full = False
    await log.settle()
    await log.ship(store)
    assert log.shipped
    assert {path.suffix for path in (tmp_path / "log" / "test" / "one").iterdir()} == {".zst", ".json"}


async def test_a_manifest_is_not_complete_before_the_last_segment_is_there(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    log, store = opened(Spool.of(settings())), Store(settings())
    log.append(line(0), 0, 1, now=0.0)
    log.finish(Goodbye(incarnation="one", records=1, dropped=0))
    await log.ship(store)  # before the disk was waited for
    found = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert found is not None
    assert (found.complete, found.segments) == (False, ())
    await log.settle()
    await log.ship(store)
    found = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert found is not None
    assert (found.complete, [entry.records for entry in found.segments]) == (True, [1])


def test_a_record_is_on_disk_less_than_a_second_after_it_came(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    """DESIGN §4: a kill costs one second of decided pairs; a tick of 0.1 s may come in between."""
    log = opened(Spool.of(settings()))
    log.append(line(0), 0, 1, now=10.0)
    (grown,) = (tmp_path / "spool" / "test" / "one").glob("*.open")
    log.tick(now=10.75)
    assert grown.stat().st_size == 0
    log.tick(now=10.85)
    assert grown.stat().st_size > 0


async def test_what_cannot_be_cleared_is_told_and_the_others_are_shipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: Callable[..., ShipperSettings]
) -> None:
    shipper = Shipper(settings(), Store(settings()))
    for name in ("one", "two"):
        log = shipper.log_of(Hello(experiment="test", incarnation=name, router="here", started_us=1))
        log.append(line(0), 0, 1, now=0.0)
        log.finish(Goodbye(incarnation=name, records=1, dropped=0))
        await log.settle()
    (tmp_path / "spool" / "test" / "one" / "somebody's").touch()
    assert await shipper.ship()
    assert "test/one: uploaded, but the spool was not cleared" in caplog.text
    assert sorted(path.name for path in (tmp_path / "log" / "test").iterdir()) == ["one", "two"]
    assert not (tmp_path / "spool" / "test" / "two").exists()
    # What is left is no log: the next shipper must not put an empty manifest in the place of the one that was shipped.
    assert list(left_over(Spool.of(settings()))) == []


async def test_trouble_with_one_log_does_not_stop_the_flushing_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Callable[..., ShipperSettings]
) -> None:
    shipper = Shipper(settings(), Store(settings()))
    logs = [shipper.log_of(Hello(experiment="test", incarnation=n, router="", started_us=1)) for n in ("one", "two")]
    for log in logs:
        log.append(line(0), 0, 1, now=0.0)

    def broken(now: float) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(logs[0], "tick", broken)
    shipper.tick(now=5.0)
    (grown,) = (tmp_path / "spool" / "test" / "two").glob("*.open")
    assert grown.stat().st_size > 0


async def filled(log: IncarnationLog, records: int, first: int = 0) -> int:
    """Append records of some 30 KB that do not compress well, a segment closed whenever it is full; the next number."""
    for number in range(first, first + records):
        log.append(line(number, noise(30_000 + number)), number, 1, now=0.0)
        await log.settle()
    return first + records


def bytes_in(spool: Path) -> int:
    return sum(path.stat().st_size for path in spool.glob("*/*/*.zst*"))


async def test_a_full_spool_gives_up_its_oldest_segments_counted_in_the_manifest(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    wanted = settings(segment_bytes=200_000, spool_bytes=2_600_000)
    spool = Spool.of(wanted)
    log = opened(spool)
    for batch in range(20):
        await filled(log, 10, first=10 * batch)
        assert bytes_in(tmp_path / "spool") == spool.budget.used <= wanted.spool_bytes
    log.finish(Goodbye(incarnation="one", records=200, dropped=0))
    await log.settle()
    await log.ship(Store(wanted))
    manifest = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert manifest is not None
    (drop,) = manifest.drops
    assert (drop.reason, drop.first_sequence, drop.last_sequence) == (OLDEST, 0, drop.records - 1)
    assert drop.records + sum(entry.records for entry in manifest.segments) == 200
    assert manifest.segments[0].first_sequence == drop.records
    assert spool.budget.used == bytes_in(tmp_path / "spool") == 0


async def test_a_full_spool_that_may_not_give_up_takes_no_more_and_counts_what_came(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    wanted = settings(segment_bytes=200_000, spool_bytes=2_600_000, when_full="stop_mirroring")
    spool = Spool.of(wanted)
    log = opened(spool)
    await filled(log, 200)
    assert spool.budget.used == bytes_in(tmp_path / "spool") <= wanted.spool_bytes
    log.finish(Goodbye(incarnation="one", records=200, dropped=0))
    await log.settle()
    await log.ship(Store(wanted))
    manifest = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert manifest is not None
    (drop,) = manifest.drops
    assert drop.reason == SPOOL_FULL
    assert drop.records + sum(entry.records for entry in manifest.segments) == 200
    assert manifest.segments[0].first_sequence == 0
    counters = spool.counters
    assert counters.received == 200 == counters.written + counters.dropped[SPOOL_FULL]


async def test_routers_are_stopped_before_the_spool_is_full_and_go_on_when_there_is_room(
    settings: Callable[..., ShipperSettings],
) -> None:
    wanted = settings(segment_bytes=200_000, spool_bytes=4_000_000, when_full="stop_mirroring")
    spool = Spool.of(wanted)
    log, store = opened(spool), Store(wanted)
    number, stopped = 0, False
    while not stopped:
        number = await filled(log, 1, number)
        stopped = spool.budget.stops()
        assert stopped == (spool.budget.used >= 0.8 * wanted.spool_bytes)
    assert spool.counters.dropped[SPOOL_FULL] == 0
    await log.ship(store)
    assert not spool.budget.stops()


@pytest.mark.parametrize("moment", ["at once", "before the removal", "after it"])
async def test_a_kill_while_a_segment_is_given_up_neither_brings_it_back_nor_counts_it_as_loss(
    tmp_path: Path, settings: Callable[..., ShipperSettings], disk: Disk, moment: str
) -> None:
    wanted = settings(segment_bytes=200_000, spool_bytes=2_600_000)
    log = opened(Spool.of(wanted))
    await filled(log, 60)
    log.close_segment()
    await log.settle()
    oldest = log.waiting[0]
    assert log.give_up(oldest)
    assert bytes_in(tmp_path / "spool") == log.spool.budget.used
    if moment != "at once":
        disk.refuse(*([oldest.name] if moment == "before the removal" else []))
        await log.settle()
        assert (log.directory / oldest.name).exists() == (moment == "before the removal")
        disk.refuse()
    spool = Spool.of(wanted)
    (found,) = left_over(spool)
    assert [entry.name for entry in found.waiting] == [entry.name for entry in log.waiting]
    assert found.manifest.segments == tuple(log.waiting)
    assert [(drop.reason, drop.records) for drop in found.drops.entries] == [(OLDEST, oldest.records)]
    assert spool.budget.used == bytes_in(tmp_path / "spool") == sum(entry.bytes for entry in found.waiting)


async def test_a_spool_that_cannot_be_written_costs_counted_records_and_works_again_when_it_can(
    tmp_path: Path, settings: Callable[..., ShipperSettings], caplog: pytest.LogCaptureFixture
) -> None:
    """A file in the place of the directory stands in for the read-only volume: whoever runs the tests, it refuses."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "test").touch()
    spool = Spool.of(settings())
    log, store = opened(spool), Store(settings())
    for number in range(50):
        log.append(line(number), number, 1, now=10.0 + number / 100)
        await log.settle()
    log.tick(now=11.0)
    assert "50 records lost so far" in caplog.text
    await log.ship(store)
    manifest = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert manifest is not None
    assert [(drop.reason, drop.records, drop.last_sequence) for drop in manifest.drops] == [(DISK, 50, 49)]
    (tmp_path / "spool" / "test").unlink()
    log.append(line(50), 50, 1, now=11.1)
    log.finish(Goodbye(incarnation="one", records=51, dropped=0))
    await log.settle()
    await log.ship(store)
    manifest = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert manifest is not None
    assert [(entry.first_sequence, entry.records) for entry in manifest.segments] == [(50, 1)]
    assert manifest.complete


async def test_a_segment_that_somebody_removed_is_counted_and_does_not_hold_up_the_rest(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    wanted = settings(segment_bytes=200_000)
    spool = Spool.of(wanted)
    log = opened(spool)
    await filled(log, 60)
    log.finish(Goodbye(incarnation="one", records=60, dropped=0))
    await log.settle()
    gone = log.waiting[0]
    (log.directory / gone.name).unlink()
    await log.ship(Store(wanted))
    assert log.shipped
    manifest = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert manifest is not None
    assert [(drop.reason, drop.records) for drop in manifest.drops] == [(DISK, gone.records)]
    assert gone.records + sum(entry.records for entry in manifest.segments) == 60
    assert spool.budget.used == 0


async def test_a_router_that_only_lost_its_shipper_finds_its_manifest_as_it_was(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    """A new, empty manifest would unlist all that was uploaded before."""
    hello = Hello(experiment="test", incarnation="one", router="here", started_us=1)
    for number in range(2):
        shipper = Shipper(settings(), Store(settings()))
        shipper.log_of(hello).append(line(number), number, 1, now=0.0)
        assert await shipper._finish(deadline=math.inf) == 0
    manifest = read_manifest(tmp_path / "log" / "test" / "one" / "manifest.json")
    assert manifest is not None
    assert [entry.first_sequence for entry in manifest.segments] == [0, 1]
    assert manifest.router == "here"


async def test_an_upload_under_way_at_the_end_is_not_called_back_so_nothing_stays_in_the_spool(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    """What a put that was called back did to the store is in doubt, and a manifest in doubt is kept for the next."""
    reached, gate = asyncio.Event(), asyncio.Event()

    class Held(Store):
        async def put(self, name: str, source: Path | bytes) -> None:
            if name.endswith("manifest.json"):
                reached.set()
                await gate.wait()
            await super().put(name, source)

    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        where = replace(settings(), socket=Path(short) / "s")
        shipper = Shipper(where, Held(where))
        log = shipper.log_of(Hello(experiment="test", incarnation="one", router="here", started_us=1))
        log.append(line(0), 0, 1, now=0.0)
        log.finish(Goodbye(incarnation="one", records=1, dropped=0))
        running = asyncio.create_task(shipper.run())
        await asyncio.wait_for(reached.wait(), 30)
        shipper.stop()
        while not shipper._stopping.is_set():
            await asyncio.sleep(0)
        gate.set()
        assert await asyncio.wait_for(running, 30) == 0
    assert not list((tmp_path / "spool").glob("*/*/*"))


async def test_the_log_of_a_router_that_never_came_back_is_forgotten_once_it_is_uploaded(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    shipper = Shipper(settings(), Store(settings()))
    log = shipper.log_of(Hello(experiment="test", incarnation="one", router="here", started_us=1))
    log.append(line(0), 0, 1, now=0.0)
    log.close_segment()
    await log.settle()
    assert await shipper.ship()
    assert len(shipper.logs) == 1
    log.quiet_since -= 601
    assert await shipper.ship()
    assert shipper.logs == {}
    assert not (tmp_path / "spool" / "test" / "one").exists()


async def test_the_manifest_of_an_idle_router_that_is_connected_is_renewed(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    log, store, path = opened(Spool.of(settings())), Store(settings()), tmp_path / "log" / "test" / "one"
    log.streams = 1
    await log.ship(store)
    first = read_manifest(path / "manifest.json")
    log.tick(now=log._manifest_at + 299)
    assert log.shipped
    log.tick(now=log._manifest_at + 300)
    await log.ship(store)
    second = read_manifest(path / "manifest.json")
    assert first is not None
    assert second is not None
    assert first.written_us < second.written_us


def heartbeat(decided_us: int, numbered: int = 0) -> Heartbeat:
    return Heartbeat(incarnation="one", sent_us=decided_us, decided_us=decided_us, numbered=numbered, dropped=0)


async def test_an_idle_routers_heartbeats_reach_the_store_with_a_put_for_sixty_of_them(
    tmp_path: Path, settings: Callable[..., ShipperSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth of the time after which a segment is closed: never one put for each."""
    log, store, path = opened(Spool.of(settings())), Store(settings()), tmp_path / "log" / "test" / "one"
    now = [time.monotonic()]
    monkeypatch.setattr("shadow.router.spool.time.monotonic", lambda: now[0])
    log.streams, puts = 1, 0
    await log.ship(store)
    for second in range(1, 601):
        now[0] += 1
        log.hear(heartbeat(second))
        log.tick(now[0])
        puts += log.unshipped_manifest
        if log.unshipped_manifest:
            await log.ship(store)
    assert puts == 10
    found = read_manifest(path / MANIFEST)
    assert found is not None
    assert (found.decided_us, found.told_us, found.numbered) == (600, 600, 0)


async def test_a_heartbeat_is_told_with_what_came_before_it_and_a_router_that_is_gone_is_not_forgotten_before(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    log, store = opened(Spool.of(settings())), Store(settings())
    path = tmp_path / "log" / "test" / "one" / MANIFEST
    log.append(line(0), 0, 1, now=0.0)
    log.hear(heartbeat(7, numbered=1))
    log.tick(time.monotonic())
    await log.ship(store)
    before = read_manifest(path)
    log.close_segment()
    await log.settle()
    await log.ship(store)
    after = read_manifest(path)
    assert before is not None
    assert after is not None
    assert (before.decided_us, before.numbered) == (0, -1)
    assert (after.decided_us, after.numbered, len(after.segments)) == (7, 1, 1)
    log.hear(heartbeat(9, numbered=1))
    log.tick(time.monotonic())
    assert log.shipped
    assert not log.cleared
    log.close()
    await log.ship(store)
    last = read_manifest(path)
    assert last is not None
    assert last.decided_us == 9
    assert log.cleared


async def test_a_segment_that_the_disk_closes_after_a_later_one_is_listed_in_order_and_never_reads_as_loss(
    tmp_path: Path, settings: Callable[..., ShipperSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, store = opened(Spool.of(settings())), Store(settings())
    for sequence in range(3):
        closed(log, sequence)
    late, close = log._closing[1], log._closing[1].close
    monkeypatch.setattr(late, "close", lambda: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
    await log.settle()
    await log.ship(store)
    early = read_manifest(tmp_path / "log" / "test" / "one" / MANIFEST)
    assert early is not None
    assert [entry.first_sequence for entry in early.segments] == [0]
    assert not log.settled
    monkeypatch.setattr(late, "close", close)
    await log.settle()
    await log.ship(store)
    found = read_manifest(tmp_path / "log" / "test" / "one" / MANIFEST)
    assert found is not None
    assert [entry.first_sequence for entry in found.segments] == [0, 1, 2]


async def test_an_open_segment_that_somebody_removed_is_counted_and_holds_up_nothing(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    spool = Spool.of(settings())
    log, store = opened(spool), Store(settings())
    closed(log, 0)
    closed(log, 1)
    (tmp_path / "spool" / "test" / "one" / "000000000000.jsonl.zst.open").unlink()
    await log.settle()
    await log.ship(store)
    found = read_manifest(tmp_path / "log" / "test" / "one" / MANIFEST)
    assert found is not None
    assert [entry.first_sequence for entry in found.segments] == [1]
    assert [(drop.reason, drop.records) for drop in found.drops] == [(DISK, 1)]
    assert log.shipped
    assert spool.budget.used == 0


def test_a_segment_that_grows_by_the_clock_is_closed_by_its_size_too(settings: Callable[..., ShipperSettings]) -> None:
    log = opened(Spool.of(settings(segment_bytes=50_000)))
    for number in range(4):
        log.append(line(number, noise(30_000)), number, 1, now=float(number))
        log.tick(now=number + 0.9)
    assert len(log._closing) == 2
    assert [writer.bytes > 50_000 for writer in log._closing] == [True, True]


@pytest.mark.parametrize("policy", ["drop_oldest", "stop_mirroring"])
async def test_a_spool_full_of_open_segments_closes_them_so_that_they_can_go(
    settings: Callable[..., ShipperSettings], policy: str
) -> None:
    """Two logs whose open segments take all the room: neither has a closed one to give up, or to upload."""
    wanted = settings(segment_bytes=100_000, spool_bytes=200_000, when_full=policy)
    spool = Spool.of(wanted)
    logs = [opened(spool, "one"), opened(spool, "two")]
    for number in range(3):
        for log in logs:
            log.append(line(number, noise(30_000)), number, 1, now=float(number))
            log.tick(now=number + 0.9)
    assert [log.settled for log in logs] == [False, False]
    logs[0].append(line(3, noise(30_000)), 3, 1, now=3.0)
    logs[0].tick(now=3.9)
    assert spool.counters.dropped[SPOOL_FULL] == 1
    await logs[0].settle()
    logs[0].append(line(4, noise(30_000)), 4, 1, now=4.0)
    logs[0].tick(now=4.9)
    assert spool.counters.dropped[OLDEST] == (3 if policy == "drop_oldest" else 0)
    await logs[0].ship(Store(wanted))
    assert spool.budget.used < 200_000


async def test_a_spool_that_stops_the_routers_closes_what_it_has_so_that_it_can_be_uploaded(
    settings: Callable[..., ShipperSettings],
) -> None:
    wanted = settings(segment_bytes=100_000, spool_bytes=200_000, when_full="stop_mirroring")
    shipper = Shipper(wanted, Store(wanted))
    for name in ("one", "two"):
        log = shipper.log_of(Hello(experiment="test", incarnation=name, router="here", started_us=1))
        for number in range(3):
            log.append(line(number, noise(30_000)), number, 1, now=float(number))
            log.tick(now=number + 0.9)
    shipper.tick(now=3.0)
    assert shipper.stopped
    for log in shipper.logs.values():
        await log.settle()
    assert await shipper.ship()
    assert shipper._spool.budget.used == 0
    shipper.tick(now=4.0)
    assert not shipper.stopped


class Quiet(asyncio.Transport):
    """A connection that says nothing."""


async def test_what_a_router_held_while_its_shipper_was_away_is_on_disk_as_soon_as_it_comes(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    """It is old already: a second kill must not cost it after all."""
    shipper = Shipper(settings(), Store(settings()))
    stream = Stream(shipper)
    ours, router = socket.socketpair()
    stream.connection_made(Quiet({"socket": ours}))
    hello = msgspec.json.encode(Hello(experiment="test", incarnation="one", router="here", started_us=1))
    for body in (hello, line(0), line(1)):
        stream.data_received(len(body).to_bytes(4, "big") + body)
    (log,) = shipper.logs.values()
    assert log.pending == 0
    (grown,) = (tmp_path / "spool" / "test" / "one").glob("*.open")
    assert grown.stat().st_size > 0
    stream._hello_at -= 1.0
    stream.data_received(len(line(2)).to_bytes(4, "big") + line(2))
    assert log.pending == 1
    ours.close()
    router.close()


async def test_an_uploaded_segment_stays_in_the_spool_until_the_spools_manifest_lists_it(
    tmp_path: Path, disk: Disk, settings: Callable[..., ShipperSettings]
) -> None:
    """A kill between the two would leave it in the store, in no manifest, and no next shipper could know of it."""
    log, store = opened(Spool.of(settings())), Store(settings())
    closed(log, 0)
    await log.settle()
    closed(log, 1)
    disk.refuse("manifest.json.new")
    await log.settle()
    await log.ship(store)
    assert len(list((tmp_path / "log").glob("*/*/*.zst"))) == 2
    assert len(list(log.directory.glob("*.zst"))) == 2
    assert log.spool.counters.spool_refused == 1
    (found,) = left_over(Spool.of(settings()))
    assert [entry.first_sequence for entry in found.manifest.segments] == [0, 1]
    assert found.manifest.segments == log.manifest.segments


async def test_a_manifest_that_could_not_be_saved_is_saved_later(
    tmp_path: Path, disk: Disk, settings: Callable[..., ShipperSettings], caplog: pytest.LogCaptureFixture
) -> None:
    log, store = opened(Spool.of(settings())), Store(settings())
    closed(log, 0)
    disk.refuse("manifest.json.new")
    for _ in range(3):
        await log.settle()
    assert log.spool.counters.spool_refused == 1, "a disk that refused is left alone for a second"
    await log.ship(store)
    assert not log.cleared
    disk.refuse()
    log._shelf._refused_until = 0.0
    await log.settle()
    assert log.cleared
    assert listed(log.directory / MANIFEST) == ["000000000000.jsonl.zst"]
    assert caplog.text.count("the spool refuses") == 1


async def test_a_volume_that_turns_read_only_has_each_segment_uploaded_once_and_is_told_once(
    tmp_path: Path, disk: Disk, settings: Callable[..., ShipperSettings], caplog: pytest.LogCaptureFixture
) -> None:
    shipper = Shipper(settings(), Store(settings()))
    log = shipper.log_of(Hello(experiment="test", incarnation="one", router="here", started_us=1))
    closed(log, 0)
    await log.settle()
    closed(log, 1)
    await log.settle()
    size = bytes_in(tmp_path / "spool")
    log.finish(Goodbye(incarnation="one", records=2, dropped=0))
    disk.refuse("manifest.json.new", "000000000000.jsonl.zst", "000000000001.jsonl.zst")
    for number in range(1, 6):
        assert await shipper.ship()
        assert shipper.counters.spool_refused == number
        log._shelf._refused_until = 0.0
    counters = shipper.counters
    assert (counters.segments_uploaded, counters.uploads_failed) == (2, 0)
    assert (log.shipped, log.cleared) == (True, False)
    assert shipper._spool.budget.used == size == bytes_in(tmp_path / "spool")
    assert caplog.text.count("the spool refuses") == 1
    found = read_manifest(tmp_path / "log" / "test" / "one" / MANIFEST)
    assert found is not None
    assert (found.complete, len(found.segments)) == (True, 2)
    disk.refuse()
    assert await shipper.ship()
    assert await shipper.ship()
    assert shipper.logs == {}
    assert shipper._spool.budget.used == 0
    assert not (tmp_path / "spool" / "test" / "one").exists()


async def test_room_is_made_without_waiting_for_the_disk_and_of_what_the_store_has_first(
    tmp_path: Path, disk: Disk, settings: Callable[..., ShipperSettings]
) -> None:
    """`give_up` runs on the loop, which also flushes: an fsync there would hold up every router's second."""
    log, store = opened(Spool.of(settings())), Store(settings())
    for number in range(2):
        closed(log, number)
    await log.settle()
    disk.refuse("000000000000.jsonl.zst")
    await log.ship(store)
    closed(log, 2)
    await log.settle()
    disk.refuse()
    synced, budget = disk.synced, log.spool.budget
    assert budget.admits(settings().spool_bytes - budget.used + 1)
    assert (log.spool.counters.segments_dropped, len(log.waiting)) == (0, 1)
    assert budget.admits(settings().spool_bytes)
    assert (log.spool.counters.segments_dropped, len(log.waiting)) == (1, 0)
    assert budget.used == bytes_in(tmp_path / "spool") == 0
    assert disk.synced == synced


class LateStore(Store):
    """Gives the first manifest up, and has it arrive when the test says so."""

    def __init__(self, settings: ShipperSettings) -> None:
        super().__init__(settings)
        self._late: tuple[str, bytes] | None = None

    async def put(self, name: str, source: Path | bytes) -> None:
        if isinstance(source, bytes) and self._late is None:
            self._late = (name, source)
            raise TimeoutError
        await super().put(name, source)

    async def arrive(self) -> None:
        assert self._late is not None
        await super().put(*self._late)


async def test_a_manifest_that_was_given_up_and_arrives_after_a_newer_one_is_put_right(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    """Until then the reader has every segment, and says that the log is not finished."""
    store = LateStore(settings())
    shipper = Shipper(settings(), store)
    log = shipper.log_of(Hello(experiment="test", incarnation="one", router="here", started_us=1))
    closed(log, 0)
    await log.settle()
    assert not await shipper.ship()
    closed(log, 1)
    log.finish(Goodbye(incarnation="one", records=2, dropped=0))
    await log.settle()
    assert await shipper.ship()
    assert (log.shipped, log.cleared) == (True, False)
    await store.arrive()
    health = Reading()
    (found,) = find_incarnations(tmp_path / "log")
    list(health.records(found))
    assert health.health.segments == 2
    assert health.health.unfinished == ["test/one"]
    log.tick(time.monotonic() + settings().put_seconds - 1)
    assert not log.unshipped_manifest
    log._doubt.failed(time.monotonic() - settings().put_seconds)
    log.tick(time.monotonic())
    assert await shipper.ship()
    assert shipper.logs == {}
    manifest = read_manifest(tmp_path / "log" / "test" / "one" / MANIFEST)
    assert manifest is not None
    assert (manifest.complete, len(manifest.segments)) == (True, 2)


async def test_a_put_that_began_within_the_doubt_does_not_end_it(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    """What was given up may arrive between its beginning and its end."""
    put_seconds = settings().put_seconds

    class AsTimeGoesBy(Store):
        async def put(self, name: str, source: Path | bytes) -> None:
            await super().put(name, source)
            log._doubt.failed(time.monotonic() - put_seconds)

    shipper = Shipper(settings(), AsTimeGoesBy(settings()))
    log = shipper.log_of(Hello(experiment="test", incarnation="one", router="here", started_us=1))
    closed(log, 0)
    log.finish(Goodbye(incarnation="one", records=1, dropped=0))
    await log.settle()
    log._doubt.failed(time.monotonic())
    assert await shipper.ship()
    assert (log.shipped, log.cleared) == (True, False)


async def test_names_that_are_no_shippers_are_left_alone_and_told_once(
    tmp_path: Path, settings: Callable[..., ShipperSettings], caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(Spool.of(settings()))
    closed(log, 0)
    await log.settle()
    spool = tmp_path / "spool"
    for directory in ("lost+found/x", "copies/one.bak", "test/lost+found", "test/one/000000000009.jsonl.zst"):
        (spool / directory).mkdir(parents=True)
    (spool / "copies" / "one.bak" / MANIFEST).write_bytes((log.directory / MANIFEST).read_bytes())
    foreign = [
        ".DS_Store", "notes.jsonl.zst", "test/.DS_Store", "test/one/.DS_Store", "test/one/notes.jsonl.zst",
        "test/one/notes.jsonl.zst.open", "test/one/000000000000.jsonl.zst.swp", "lost+found/x/000000000000.jsonl.zst",
    ]  # fmt: skip
    for name in foreign:
        (spool / name).write_bytes(b"somebody's")
    (found,) = Shipper(settings(), Store(settings())).logs.values()
    assert (found.name, len(found.waiting)) == ("test/one", 1)
    assert [(spool / name).read_bytes() for name in foreign] == [b"somebody's"] * len(foreign)
    assert caplog.text.count("no shipper's, and ignored: .DS_Store") == 1


async def test_a_segment_by_its_name_that_holds_no_records_stops_nothing_and_stays(
    tmp_path: Path, settings: Callable[..., ShipperSettings], caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(Spool.of(settings()))
    closed(log, 0)
    await log.settle()
    strange = log.directory / "000000000005.jsonl.zst.open"
    strange.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(b"no JSON\n"))
    (found,) = left_over(Spool.of(settings()))
    assert len(found.waiting) == 1
    assert strange.exists()
    assert "it holds no records" in caplog.text


async def test_a_long_backlog_renews_the_manifest_on_its_way(
    tmp_path: Path, settings: Callable[..., ShipperSettings]
) -> None:
    log, store = opened(Spool.of(settings())), Store(settings())
    for number in range(3):
        log.append(line(number), number, 1, now=0.0)
        log.close_segment()
    await log.settle()
    log._manifest_at = time.monotonic() - MANIFEST_SECONDS - 1
    await log.ship(store)
    (path,) = (tmp_path / "log").glob("*/*/" + MANIFEST)
    assert len(listed(path)) == 1
    await log.ship(store)
    assert log.shipped
    assert len(listed(path)) == 3


def listed(path: Path) -> list[str]:
    """The segments that the manifest at `path` names."""
    manifest = read_manifest(path)
    assert manifest is not None
    return [each.name for each in manifest.segments]
