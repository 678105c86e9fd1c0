"""The spool under a disk that refuses: nothing shipped twice, nothing forgotten too early, nobody else disturbed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from shadow.contracts import Goodbye, Hello
from shadow.router.shipper import Shipper
from shadow.router.spool import Destination, IncarnationLog
from shadow.segment_writer import write_atomically


class Disk:
    """Lets `fsync` fail while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, file: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._fsync(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def opened(spool: Path, incarnation: str = "one") -> IncarnationLog:
    hello = Hello(experiment="test", incarnation=incarnation, router="here", started_us=1)
    return IncarnationLog.open(spool, hello, 1 << 20, 300)


def line(sequence: int) -> bytes:
    return msgspec.json.encode({"record": "pair", "sequence": sequence, "event_time_us": 1})


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left_beside_it(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "manifest.json"
    write_atomically(path, b"old")
    disk.full = True
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("manifest.json", b"old")]


def test_a_segment_that_cannot_be_closed_at_the_goodbye_is_closed_later_and_not_forgotten(
    tmp_path: Path, disk: Disk
) -> None:
    log, destination = opened(tmp_path / "spool"), Destination((tmp_path / "log").as_uri())
    log.append(line(0), 0, 1, now=0.0)
    disk.full = True
    log.finish(Goodbye(incarnation="one", records=1, dropped=0))
    log.ship(destination)
    assert not log.shipped
    disk.full = False
    log.tick(now=0.1)
    log.ship(destination)
    assert log.shipped
    assert {path.suffix for path in (tmp_path / "log" / "test" / "one").iterdir()} == {".zst", ".json"}


def test_a_record_is_on_disk_at_most_a_second_after_it_came(tmp_path: Path) -> None:
    """DESIGN §4: a kill costs one second of decided pairs."""
    log = opened(tmp_path)
    log.append(line(0), 0, 1, now=10.0)
    (grown,) = (tmp_path / "test" / "one").glob("*.open")
    log.tick(now=10.9)
    assert grown.stat().st_size == 0
    log.tick(now=11.0)
    assert grown.stat().st_size > 0


async def test_what_cannot_be_cleared_is_told_and_the_others_are_shipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipper = Shipper(tmp_path / "spool", Destination((tmp_path / "log").as_uri()), 1 << 20, 300)
    for name in ("one", "two"):
        hello = Hello(experiment="test", incarnation=name, router="here", started_us=1)
        log = shipper.log_of(hello)
        log.append(line(0), 0, 1, now=0.0)
        log.finish(Goodbye(incarnation=name, records=1, dropped=0))
        shipper.finished.append(log)
    (tmp_path / "spool" / "test" / "one" / "somebody's").touch()
    assert await shipper._ship_all()
    assert "test/one: shipped, but the spool was not cleared" in caplog.text
    assert sorted(path.name for path in (tmp_path / "log" / "test").iterdir()) == ["one", "two"]
    assert not (tmp_path / "spool" / "test" / "two").exists()
    # What is left is no log: the next shipper must not put an empty manifest in the place of the one that was shipped.
    assert list(IncarnationLog.left_over(tmp_path / "spool")) == []


def test_trouble_with_one_log_does_not_stop_the_flushing_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipper = Shipper(tmp_path / "spool", Destination((tmp_path / "log").as_uri()), 1 << 20, 300)
    logs = [shipper.log_of(Hello(experiment="test", incarnation=n, router="", started_us=1)) for n in ("one", "two")]
    for log in logs:
        log.append(line(0), 0, 1, now=0.0)

    def broken(now: float) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(logs[0], "tick", broken)
    shipper._tick(now=5.0)
    (grown,) = (tmp_path / "spool" / "test" / "two").glob("*.open")
    assert grown.stat().st_size > 0
