"""The pipe to the shipper: what is numbered is written, waits or was dropped, whatever the other end does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shadow.contracts import CONFIRMED, GO, HEARS, STOP, Answer, Hello
from shadow.router import pairlog
from shadow.router.pairlog import PairLog
from shadow.router.records import Draft, Shown
from tests.shadow.router.harness import Collector, until

HELLO = Hello(experiment="e", incarnation="i", router="r", started_us=1)


@pytest.fixture
async def path() -> AsyncIterator[Path]:
    with TemporaryDirectory(dir="/tmp") as directory:  # short: a unix socket's path has a limit
        yield Path(directory) / "s"


def write(log: PairLog, number: int, body: str = "") -> None:
    draft = Draft(f"r{number}", "e", "i", 0, 0, "GET", "/", 0, "", 0, Answer(version="v", status=200, body=body))
    log.write(draft, "shadow", "paired", None)
    balanced(log)


def balanced(log: PairLog) -> None:
    assert log.numbered == log.written + log.dropped + len(log._waiting)


def confirmed(records: int, word: bytes = GO) -> bytes:
    return CONFIRMED + records.to_bytes(8, "big") + word


async def _many(condition: Callable[[], bool]) -> None:
    """`until`, where the clock's own pauses are cut short."""
    while not condition():
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)


def expose(log: PairLog, number: int) -> None:
    draft = Draft(f"r{number}", "e", "i", 3, 4, "GET", "/", 0, "u", 5, None)
    log.expose(draft, Shown(assigned="shadow", served="primary", version="v", status=200, error="busy"))
    balanced(log)


async def test_what_was_logged_before_the_shipper_came_arrives_in_order(path: Path) -> None:
    log, collector = PairLog(str(path), HELLO), Collector()
    for number in range(100):
        write(log, number)
    async with await asyncio.start_unix_server(collector.serve, str(path)):
        await log.close(5)
        await asyncio.wait_for(collector.ended.wait(), 60)
    kinds = [frame["record"] for frame in collector.frames]
    assert kinds == ["hello", *["pair"] * 100, "goodbye"]
    assert [record["sequence"] for record in collector.records] == list(range(100))
    assert [record["request_id"] for record in collector.records] == [f"r{number}" for number in range(100)]
    assert collector.frames[-1] == {
        "record": "goodbye",
        "schema_version": 3,
        "incarnation": "i",
        "records": 100,
        "dropped": 0,
    }


async def test_a_shipper_that_comes_back_gets_hello_again_and_the_rest(path: Path) -> None:
    log, first, second = PairLog(str(path), HELLO), Collector(), Collector()
    server = await asyncio.start_unix_server(first.serve, str(path))
    write(log, 0)
    await until(lambda: first.records)
    log._transport.abort()  # the connection breaks
    server.close()
    path.unlink(missing_ok=True)
    await until(lambda: log._transport is None)
    write(log, 1)
    async with await asyncio.start_unix_server(second.serve, str(path)):
        await log.close(5)
        await asyncio.wait_for(second.ended.wait(), 60)
    assert [frame["record"] for frame in second.frames] == ["hello", "pair", "goodbye"]
    assert [record["sequence"] for record in first.records + second.records] == [0, 1]


async def test_the_newest_are_dropped_and_leave_a_gap_when_the_shipper_does_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairlog, "BUFFER_BYTES", 1 << 20)
    resume, collector = asyncio.Event(), Collector()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await resume.wait()
        await collector.serve(reader, writer)

    async with await asyncio.start_unix_server(late, str(path), limit=1024):
        log = PairLog(str(path), HELLO)
        await until(lambda: log._transport is not None)
        for number in range(400):
            write(log, number, "x" * 10_000)
            await asyncio.sleep(0)
            assert log.queued_bytes <= 1 << 20
        assert log.dropped > 100
        resume.set()
        await until(lambda: not log._waiting)
        write(log, 400)
        await log.close(5)
        await asyncio.wait_for(collector.ended.wait(), 60)
    sequences = [record["sequence"] for record in collector.records]
    assert sequences == sorted(sequences)
    assert sequences[-1] == 400
    assert 401 - len(sequences) == log.dropped == collector.frames[-1]["dropped"]


async def test_what_was_handed_to_a_shipper_that_went_away_is_unconfirmed_and_claimed_neither_way(path: Path) -> None:
    """Some of it it had read, some of it not, and of one record it had a half: nobody can know."""
    ended = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.transport.abort()

    server = await asyncio.start_unix_server(deaf, str(path), limit=1024)
    log = PairLog(str(path), HELLO)
    await until(lambda: log._transport is not None)
    for number in range(100):
        write(log, number, "x" * 10_000)
    await until(lambda: log._paused)
    waiting = len(log._waiting)
    server.close()
    path.unlink(missing_ok=True)
    log._transport.abort()
    await until(lambda: log.unconfirmed)
    balanced(log)
    assert log.unconfirmed == log.written == 100 - waiting
    assert (log.confirmed, log.dropped, len(log._waiting)) == (0, 0, waiting)
    ended.set()
    await log.close(0.05)
    assert (log.queued_bytes, log.numbered) == (0, log.written + log.dropped)
    assert log.dropped == waiting


async def test_what_the_shipper_confirms_is_known_and_the_rest_of_its_connection_is_not(path: Path) -> None:
    streams: list[asyncio.StreamWriter] = []

    async def shipper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams.append(writer)

    async with await asyncio.start_unix_server(shipper, str(path)):
        log = PairLog(str(path), HELLO)
        for number in range(10):
            write(log, number)
        await until(lambda: log.written == 10 and streams)
        words = confirmed(4)
        streams[0].write(words[:5])
        await streams[0].drain()
        streams[0].write(words[5:])
        await until(lambda: log.confirmed == 4)
        assert not log.stopped
        streams[0].write(confirmed(7, STOP) + confirmed(3, STOP) + confirmed(99, STOP)[:4])
        await until(lambda: log.stopped)
        assert (log.confirmed, log.unconfirmed, log.document()["written"]) == (7, 0, 10)
        streams[0].transport.abort()
        await until(lambda: log.unconfirmed)
        assert (log.confirmed, log.unconfirmed) == (7, 3)
        await until(lambda: len(streams) == 2)
        write(log, 10)
        await until(lambda: log.written == 11)
        streams[1].write(confirmed(99))
        await until(lambda: log.confirmed == 8)
        balanced(log)
        await log.close(5)
        for each in streams:
            each.close()
            await each.wait_closed()
    assert (log.confirmed, log.unconfirmed, log.dropped) == (8, 3, 0)


async def test_a_router_that_ends_waits_for_the_last_confirmation_of_a_shipper_that_gives_any(path: Path) -> None:
    streams: list[asyncio.StreamWriter] = []
    collector = Collector()

    async def shipper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams.append(writer)
        writer.write(confirmed(0))
        await collector.serve(reader, writer)

    async with await asyncio.start_unix_server(shipper, str(path)):
        log = PairLog(str(path), HELLO)
        write(log, 0)
        await until(lambda: log._handover.confirms and log.written)
        closing = asyncio.ensure_future(log.close(30))
        await until(lambda: collector.frames[-1]["record"] == "goodbye")
        assert not closing.done()
        streams[0].write(confirmed(1))
        await asyncio.wait_for(closing, 60)
        await asyncio.wait_for(collector.ended.wait(), 60)
        await streams[0].wait_closed()
    assert (log.confirmed, log.unconfirmed) == (1, 0)


async def test_a_shipper_that_takes_and_closes_again_and_again_is_asked_with_growing_pauses(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    asked = 0

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.transport.abort()

    real = asyncio.sleep

    async def short(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    async with await asyncio.start_unix_server(closing, str(path)):
        monkeypatch.setattr(pairlog.asyncio, "sleep", short)
        log = PairLog(str(path), HELLO)
        await asyncio.wait_for(_many(lambda: asked >= 12), 30)
        monkeypatch.undo()
        await log.close(0.0)
    wholes = [*pairlog.BACKOFF_SECONDS, *[1.0] * 20]
    pauses = [pause for pause in pauses if pause]
    assert len(pauses) >= 11
    assert all(whole / 2 <= pause <= whole for whole, pause in zip(wholes, pauses, strict=False))
    assert len(set(pauses)) == len(pauses), "half of each is chance"


async def test_closing_without_a_shipper_ends_in_time_and_counts_what_is_left(path: Path) -> None:
    log = PairLog(str(path), HELLO)
    for number in range(3):
        write(log, number)
    await asyncio.wait_for(log.close(0.05), 60)
    assert log.document() == {
        "numbered": 3, "written": 0, "dropped": 3, "confirmed": 0, "unconfirmed": 0, "queued_bytes": 0, "stopped": 0,
    }  # fmt: skip


async def test_while_the_shipper_says_stop_records_are_numbered_and_dropped_and_then_written_again(path: Path) -> None:
    log, collector, streams = PairLog(str(path), HELLO), Collector(), []

    async def shipper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        streams.append(writer)
        await collector.serve(reader, writer)

    async with await asyncio.start_unix_server(shipper, str(path)):
        write(log, 0)
        await until(lambda: collector.records)
        streams[0].write(STOP)
        await until(lambda: log.stopped)
        write(log, 1)
        assert log.document()["stopped"] == 1
        streams[0].write(STOP + GO)
        await until(lambda: not log.stopped)
        write(log, 2)
        await log.close(5)
        await asyncio.wait_for(collector.ended.wait(), 60)
    assert [record["sequence"] for record in collector.records] == [0, 2]
    assert (collector.frames[-1]["records"], collector.frames[-1]["dropped"]) == (3, 1)


async def test_a_shipper_that_said_stop_and_is_gone_stops_nothing(path: Path) -> None:
    log, streams = PairLog(str(path), HELLO), []

    async def shipper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(STOP)
        streams.append(writer)

    async with await asyncio.start_unix_server(shipper, str(path)):
        await until(lambda: log.stopped)
    path.unlink(missing_ok=True)
    streams[0].transport.abort()
    await until(lambda: log._transport is None)
    assert not log.stopped
    await log.close(0.05)


async def test_pairs_and_exposures_share_the_numbers(path: Path) -> None:
    log, collector = PairLog(str(path), HELLO), Collector()
    write(log, 0)
    expose(log, 1)
    write(log, 2)
    async with await asyncio.start_unix_server(collector.serve, str(path)):
        await log.close(5)
        await asyncio.wait_for(collector.ended.wait(), 60)
    assert [frame["record"] for frame in collector.frames] == ["hello", "pair", "exposure", "pair", "goodbye"]
    assert [frame["sequence"] for frame in collector.frames[1:-1]] == [0, 1, 2]
    assert collector.frames[2] == {
        "record": "exposure", "schema_version": 3, "request_id": "r1", "experiment": "e", "incarnation": "i",
        "sequence": 1, "arrival_us": 3, "event_time_us": 4, "unit": "u", "bucket": 5, "assigned": "shadow",
        "served": "primary", "version": "v", "status": 200, "error": "busy",
    }  # fmt: skip
    assert collector.frames[-1]["records"] == 3


async def test_a_shipper_that_listens_is_told_what_is_decided_behind_all_that_was_written(path: Path) -> None:
    log, collector = PairLog(str(path), HELLO), Collector()
    async with await asyncio.start_unix_server(collector.serve, str(path)):
        await until(lambda: collector.frames)
        log.beat(5)
        collector.say(HEARS + confirmed(0))
        await until(lambda: log._handover.hears)
        span = log.begin(arrival_us=7, records=2)
        for number in range(2):
            draft = Draft(f"r{number}", "e", "i", 7, 7, "GET", "/", 0, "", 0, None, span=span)
            log.write(draft, "shadow", "paired", None)
            log.beat(10 + number)
        await until(lambda: len(collector.frames) >= 5)
        assert [frame["record"] for frame in collector.frames[:5]] == ["hello", *["pair", "heartbeat"] * 2]
        beats = [frame for frame in collector.frames if frame["record"] == "heartbeat"]
        assert [(beat["numbered"], beat["decided_us"], beat["sent_us"]) for beat in beats[:2]] == [
            (1, 7, 10),
            (2, 11, 11),
        ]
        assert (log.written, log.numbered) == (2, 2)
        await log.close(0.1)


async def test_a_shipper_of_before_is_told_nothing_that_it_would_take_for_nonsense(path: Path) -> None:
    log, collector = PairLog(str(path), HELLO), Collector()
    async with await asyncio.start_unix_server(collector.serve, str(path)):
        await until(lambda: collector.frames)
        collector.say(confirmed(0))
        await until(lambda: log._handover.confirms)
        log.beat(5)
        write(log, 0)
        await until(lambda: collector.records)
        assert [frame["record"] for frame in collector.frames] == ["hello", "pair"]
        await log.close(0.1)


async def test_a_heartbeat_does_not_pile_up_behind_a_shipper_that_does_not_read(path: Path) -> None:
    ended = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEARS + confirmed(0))
        await ended.wait()
        writer.transport.abort()

    async with await asyncio.start_unix_server(deaf, str(path), limit=1024):
        log = PairLog(str(path), HELLO)
        await until(lambda: log._handover.hears)
        for number in range(100):
            write(log, number, "x" * 10_000)
        await until(lambda: log._paused)
        queued = log.queued_bytes
        log.beat(5)
        assert log.queued_bytes == queued
        ended.set()
        await log.close(0.05)
