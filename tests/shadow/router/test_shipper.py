"""The shipper as a process: what it was given is in the log, also after it was killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from shadow.contracts import CONFIRMED, GO, STOP, Answer, Exposure, Goodbye, Hello, PairRecord
from shadow.processes import Stage, StepError
from shadow.rehearsal import command
from shadow.router import cli
from shadow.router.shipper_settings import ShipperSettings
from shadow.segment_recovery import whole_frames
from shadow.segments import read_exposures, read_manifest, read_pairs
from shadow.watermark import watermark_of
from tests.ports import free_port
from tests.shadow.router.stores import WRITER, Gateway

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
        where = ("--socket", self.path, "--spool", self.spool)
        if "--destination" not in options:
            where += ("--destination", self.destination.as_uri())
        limited = ("bash", "-c", f'ulimit -f {file_limit} && exec "$@"', "-")
        self.stage.start("shipper", [*limited, *command("shipper", *where, *options)], self._listens)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.path))
        except OSError:
            connection.close()
            raise
        return connection

    def _listens(self) -> bool:
        """Its socket is there a moment before anybody listens."""
        with contextlib.suppress(OSError), self.connect():
            return True
        return False

    def metrics(self, port: int) -> dict[str, float]:
        """By name and the label, if there is one: `records_total:written`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
            families = list(text_string_to_metric_families(response.read().decode()))
        return {
            ":".join([sample.name.removeprefix("understudy_shipper_"), *sample.labels.values()]): sample.value
            for family in families
            for sample in family.samples
        }

    def kill(self) -> None:
        process = self.stage.running.pop().process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(name="shippers")
def on_a_stage(tmp_path: Path) -> Iterator[Shippers]:
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


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.02)


def test_a_store_that_is_gone_for_a_while_costs_nothing_and_is_seen_in_the_metrics(
    shippers: Shippers, tmp_path: Path
) -> None:
    shippers.stage.environment.update(WRITER)
    gateway, port, sent = Gateway.opened(shippers.stage, tmp_path / "gateway"), free_port(), 2_000
    where = ("--destination", "s3://pairs/shop", "--endpoint", gateway.url, "--metrics", f"127.0.0.1:{port}")
    shippers.start(*where, "--segment-bytes", "20000", "--segment-seconds", "1", "--retry-seconds", "0.5")
    until(lambda: shippers.metrics(port))
    with shippers.connect() as router:
        router.sendall(hello() + b"".join(record(number) for number in range(sent // 2)))
        until(lambda: shippers.metrics(port)["segments_total:uploaded"])
        gateway.stop()
        router.sendall(b"".join(record(number) for number in range(sent // 2, sent)))
        until(lambda: shippers.metrics(port)["uploads_failed_total"] >= 2)
        until(lambda: shippers.metrics(port)["segments_total:closed"] >= 2)
        until(lambda: shippers.metrics(port)["records_total:written"] == sent)
        told = shippers.metrics(port)
        assert told["spool_segments"] >= 1
        assert told["spool_bytes"] == sum(path.stat().st_size for path in shippers.spool.glob("*/*/*.zst*"))
        gateway.start()
        until(lambda: not shippers.metrics(port)["spool_bytes"])
        told = shippers.metrics(port)
        assert told["records_total:received"] == told["records_total:written"] == sent
        assert (told["pending_records"], told["dropped_total:oldest"], told["routers"]) == (0, 0, 1)
        assert told["segments_total:closed"] == told["segments_total:uploaded"] >= 2
        router.sendall(frame(Goodbye(incarnation="one", records=sent, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(gateway.bucket / "shop")
    assert [each.sequence for each in log] == list(range(sent))
    assert log.health.problems() == []
    assert log.health.complete


def test_a_store_that_never_answers_holds_up_neither_the_second_of_loss_nor_the_end(shippers: Shippers) -> None:
    """Flushing by the clock does not wait for an upload, and SIGTERM is obeyed while one hangs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        shippers.stage.environment.update(WRITER)
        where = ("--destination", "s3://pairs/shop", "--endpoint", url, "--drain-seconds", "1")
        shippers.start(*where, "--segment-seconds", "0.2")
        with shippers.connect() as router:
            router.sendall(hello() + record(0))
            silent.settimeout(60)
            upload, _ = silent.accept()
            until(lambda: list(shippers.spool.glob("*/*/*.zst")))
            router.sendall(record(1))
            until(lambda: len(list(shippers.spool.glob("*/*/*.zst"))) == 2)
        with upload:
            assert shippers.stage.stop("shipper") == 1
    log = read_pairs(shippers.spool)
    assert [each.sequence for each in log] == [0, 1]


def test_a_router_is_told_to_stop_when_the_spool_is_nearly_full_and_to_go_on_when_there_is_room(
    shippers: Shippers, tmp_path: Path
) -> None:
    shippers.stage.environment.update(WRITER)
    gateway = Gateway.opened(shippers.stage, tmp_path / "gateway")
    gateway.stop()
    where = ("--destination", "s3://pairs/shop", "--endpoint", gateway.url, "--retry-seconds", "0.2")
    bound = ("--segment-bytes", "400000", "--spool-bytes", "4000000", "--when-full", "stop_mirroring")
    shippers.start(*where, *bound)
    rng, sent = random.Random(1), 0
    with shippers.connect() as router, shippers.connect() as other:
        router.sendall(hello())
        other.sendall(hello("two"))
        router.setblocking(False)
        while not stopped(router):
            router.setblocking(True)
            router.sendall(record(sent, body=rng.randbytes(30_000).hex()))
            sent += 1
            router.setblocking(False)
            time.sleep(0.01)
        other.settimeout(60)
        assert word(other) == STOP
        assert sum(path.stat().st_size for path in shippers.spool.glob("*/*/*.zst*")) <= 4_000_000
        gateway.start()
        router.settimeout(60)
        while word(router) != GO:
            assert not router.getblocking() or router.gettimeout()
        router.sendall(frame(Goodbye(incarnation="one", records=sent, dropped=0)))
        other.sendall(frame(Goodbye(incarnation="two", records=0, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(gateway.bucket / "shop")
    assert [each.sequence for each in log] == list(range(sent))
    assert log.health.complete


def stopped(router: socket.socket) -> bool:
    try:
        return word(router) == STOP
    except BlockingIOError:
        return False


def word(router: socket.socket) -> bytes:
    """The last that the shipper said, but for what it confirmed; it says each time all in one."""
    return router.recv(1 << 16)[-1:]


def test_a_shipper_confirms_what_is_in_its_spool_and_what_it_gave_up(shippers: Shippers) -> None:
    shippers.start()
    with shippers.connect() as router:
        router.settimeout(60)
        router.sendall(hello())
        assert confirmed(router) == 0
        router.sendall(b"".join(record(number) for number in range(100)))
        while confirmed(router) < 100:
            pass
        (grown,) = shippers.spool.glob("*/*/*.open")
        assert sum(len(lines) for _, lines in whole_frames(grown)) == 100


def test_what_a_router_sent_before_it_went_away_is_kept_though_it_hears_no_confirmation(shippers: Shippers) -> None:
    shippers.start()
    for number in range(20):
        with shippers.connect() as router:
            name = f"life-{number}"
            router.sendall(hello(name) + b"".join(record(each, name) for each in range(500)))
    with shippers.connect() as router:  # answered once all before it were accepted
        router.sendall(hello("last"))
        router.settimeout(60)
        assert confirmed(router) == 0
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(shippers.destination)
    assert len(list(log)) == 20 * 500


def confirmed(router: socket.socket) -> int:
    said = router.recv(1 << 16)
    assert said[-10:-9] == CONFIRMED
    assert said[-1:] in (STOP, GO)
    return int.from_bytes(said[-9:-1], "big")


def test_a_spool_is_used_by_one_shipper_at_a_time(shippers: Shippers) -> None:
    shippers.start()
    mine = shippers.path
    shippers.path = mine.with_name("other.sock")
    with pytest.raises(StepError, match="another shipper uses the spool"):
        shippers.start()
    same_socket = ("--socket", str(mine), "--spool", str(shippers.spool), "--destination", shippers.spool.as_uri())
    refused = subprocess.run(
        [sys.executable, "-m", "shadow", "shipper", *same_socket], capture_output=True, check=False
    )
    assert b"another shipper uses the spool" in refused.stderr
    assert mine.exists(), "the socket of the one that has the spool"


def test_settings_come_from_the_environment_too_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    where = ["--socket", str(tmp_path / "s"), "--spool", str(tmp_path), "--destination", tmp_path.as_uri()]
    done = CliRunner().invoke(cli.shipper, where, env={"UNDERSTUDY_SHIPPER_SEGMENT_BYTES": "0"})
    assert (done.exit_code, "segment_bytes 0: give at least 1" in done.output) == (2, True)
    done = CliRunner().invoke(cli.shipper, [*where, "--metrics", "9091"])
    assert (done.exit_code, "metrics '9091': give HOST:PORT" in done.output) == (2, True)


def test_every_setting_is_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "shipper.md").read_text()
    flags = [name for option in cli.shipper.params for name in option.opts]
    assert len(flags) == 16
    assert [flag for flag in flags if f"`{flag}`" not in text] == []
    assert {name.replace("_", "-") for name in ShipperSettings.__annotations__} == {flag[2:] for flag in flags} - {
        "keep"
    }


def test_a_hello_that_names_a_way_out_of_the_spool_is_refused(shippers: Shippers) -> None:
    shippers.start()
    with shippers.connect() as router:
        router.sendall(frame(Hello(experiment="..", incarnation="x", router="here", started_us=1)) + record(0))
        router.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert router.recv(1) == b""
    assert shippers.stage.stop("shipper") == 0
    assert not (shippers.directory / "x").exists()


def test_the_manifest_tells_the_latest_arrival_of_each_segment_so_the_log_has_a_watermark(shippers: Shippers) -> None:
    shippers.start("--segment-bytes", "20000")
    with shippers.connect() as router:
        router.sendall(hello() + b"".join(record(number) for number in range(2_000)))
        router.sendall(frame(Goodbye(incarnation="one", records=2_000, dropped=0)))
    assert shippers.stage.stop("shipper") == 0
    manifest = read_manifest(shippers.destination / "test" / "one" / "manifest.json")
    assert manifest is not None
    assert [entry.last_arrival_us for entry in manifest.segments] == [each.last_sequence for each in manifest.segments]
    assert watermark_of(shippers.destination).arrival_us == 1_999
