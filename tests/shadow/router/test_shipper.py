"""The shipper as a process: what it was given is in the log, also after it was killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shadow.contracts import Answer, Exposure, Goodbye, Hello, PairRecord
from shadow.processes import Stage
from shadow.rehearsal import command
from shadow.segments import read_exposures, read_pairs

BODY = '{"items":[' + ",".join(f'{{"item_id":"{n}","title":"Film {n}","score":0.5}}' for n in range(10)) + "]}"


def frame(value: object) -> bytes:
    body = msgspec.json.encode(value)
    return struct.pack(">I", len(body)) + body


def hello(incarnation: str = "one") -> bytes:
    return frame(Hello(experiment="test", incarnation=incarnation, router="here", started_us=1))


def record(sequence: int, incarnation: str = "one", body: str = BODY) -> bytes:
    answer = Answer(version="v", status=200, body=body)
    return frame(
        PairRecord(
            request_id=f"r{sequence}",
            experiment="test",
            incarnation=incarnation,
            sequence=sequence,
            arrival_us=sequence,
            event_time_us=sequence,
            method="GET",
            target="/recommend",
            unit="aa",
            bucket=1,
            arm="shadow",
            outcome="paired",
            primary=answer,
            arm_answer=answer,
        )
    )


def exposure(sequence: int) -> bytes:
    line = Exposure(
        request_id=f"r{sequence}", experiment="test", incarnation="one", sequence=sequence, arrival_us=1,
        event_time_us=1, unit="aa", bucket=1, assigned="shadow", served="shadow", version="v", status=200,
    )  # fmt: skip
    return frame(line)


class Shippers:
    """Starts shippers on the same spool and destination, one after another."""

    def __init__(self, stage: Stage, directory: Path, sockets: Path) -> None:
        self.stage, self.directory, self.path = stage, directory, sockets / "s.sock"
        self.destination = directory / "log"
        self.spool = directory / "spool"

    def start(self, *options: str, file_limit: str = "unlimited") -> None:
        """`file_limit`: the size in blocks of 1,024 bytes at which a write to a file fails, as bash's ulimit has it."""
        self.path.unlink(missing_ok=True)
        where = ("--socket", self.path, "--spool", self.spool, "--destination", self.destination.as_uri())
        limited = ("bash", "-c", f'ulimit -f {file_limit} && exec "$@"', "-")
        self.stage.start("shipper", [*limited, *command("shipper", *where, *options)], self.path.exists)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        return connection

    def kill(self) -> None:
        process = self.stage.running.pop().process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def shippers(tmp_path: Path) -> Iterator[Shippers]:
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(tmp_path / "logs", dict(os.environ)) as stage,
    ):
        yield Shippers(stage, tmp_path, Path(sockets))


def test_all_records_are_shipped_whole_and_the_log_is_complete(shippers: Shippers) -> None:
    shippers.start("--segment-bytes", "20000")
    with shippers.connect() as router:
        router.sendall(hello() + b"".join(record(number) for number in range(5_000)))
        router.sendall(frame(Goodbye(incarnation="one", records=5_000, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(shippers.destination, "test")
    assert [each.sequence for each in log] == list(range(5_000))
    assert log.health.problems() == []
    assert log.health.complete
    assert log.health.segments > 1
    assert not list(shippers.spool.glob("*/*/*"))


def test_a_router_that_vanished_leaves_its_records_and_an_unfinished_log(shippers: Shippers) -> None:
    shippers.start()
    with shippers.connect() as router:
        router.sendall(hello() + record(0) + record(1) + record(3)[:50])
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(shippers.destination)
    assert [each.sequence for each in log] == [0, 1]
    assert not log.health.complete
    assert log.health.unfinished == ["test/one"]


@pytest.mark.parametrize("cut", range(5))
def test_after_kill_9_the_next_shipper_ships_what_is_whole_and_the_gap_is_known(shippers: Shippers, cut: int) -> None:
    shippers.start("--segment-bytes", "30000", "--segment-seconds", "0.3")
    sent = 3_000 + 700 * cut
    with shippers.connect() as router:
        router.sendall(hello() + b"".join(record(number) for number in range(sent)))
        shippers.kill()
    shippers.start()
    with shippers.connect() as router:
        later = [record(number) for number in range(sent, sent + 100)]
        router.sendall(hello() + b"".join(later))
        router.sendall(frame(Goodbye(incarnation="one", records=sent + 100, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(shippers.destination)
    numbers = [each.sequence for each in log]
    assert len(set(numbers)) == len(numbers)
    assert set(range(sent, sent + 100)) <= set(numbers)
    assert log.health.missing == sent + 100 - len(numbers)
    assert (log.health.torn, log.health.checksum_failures, log.health.undecodable) == ([], [], 0)


@pytest.mark.parametrize("nonsense", [struct.pack(">I", 1 << 30), struct.pack(">I", 4) + b"nope", record(0)])
def test_a_stream_that_makes_no_sense_is_closed_and_others_go_on(shippers: Shippers, nonsense: bytes) -> None:
    shippers.start()
    with shippers.connect() as good, shippers.connect() as bad:
        good.sendall(hello())
        bad.sendall(nonsense)
        bad.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert bad.recv(1) == b""
        good.sendall(record(0) + frame(Goodbye(incarnation="one", records=1, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(shippers.destination)
    assert [each.sequence for each in log] == [0]
    assert log.health.complete


def test_what_the_disk_refuses_is_a_counted_gap_and_the_router_is_not_disturbed(shippers: Shippers) -> None:
    """A limit on the size of a file stands in for the full disk: a write is cut short, the next one fails."""
    rng = random.Random(1)
    sent = 400
    shippers.start(file_limit="2000")
    with shippers.connect() as router:
        records = [record(number, body=rng.randbytes(5_000).hex()) for number in range(sent)]
        router.sendall(hello() + b"".join(records))
        router.sendall(frame(Goodbye(incarnation="one", records=sent, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(shippers.destination)
    numbers = [each.sequence for each in log]
    assert numbers[:50] == list(range(50))
    assert 0 < log.health.missing == sent - len(numbers)
    assert (log.health.torn, log.health.checksum_failures, log.health.undecodable) == ([], [], 0)
    told = (shippers.directory / "logs" / "shipper.log").read_text()
    assert f"{log.health.missing} records lost so far" in told
    assert "Free space on the volume of the spool" in told


def test_exposures_are_shipped_like_pairs(shippers: Shippers) -> None:
    shippers.start()
    with shippers.connect() as router:
        router.sendall(hello() + b"".join(record(number) + exposure(number + 1) for number in range(0, 100, 2)))
        router.sendall(frame(Goodbye(incarnation="one", records=100, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    pairs, exposures = read_pairs(shippers.destination, "test"), read_exposures(shippers.destination, "test")
    assert [each.sequence for each in pairs] == list(range(0, 100, 2))
    assert [each.sequence for each in exposures] == list(range(1, 100, 2))
    assert pairs.health.problems() == []
    assert pairs.health.complete
