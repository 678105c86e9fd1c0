"""What the shipper costs per pair, compression, fsync and upload included: `python -m tests.bench.shipper`.

Records of the size that a recommender makes: two answers of ten items, with titles and scores that differ from user to
user. They are sent as fast as the shipper takes them; the CPU time is that of its whole process.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import psutil

from shadow.contracts import Answer, Goodbye, Hello, PairRecord
from shadow.processes import Running, Stage
from shadow.rehearsal import command
from shadow.segments import read_manifest
from tests.bench.router_numbers import Spread
from tests.shadow.router.stores import WRITER, Gateway

GOAL: Final = 20_000
"""Pairs per second of one core (DESIGN §9)."""
WORDS: Final = ("Night", "Summer", "Last", "Blue", "House", "River", "King", "Lost", "Love", "Story", "City", "Star")
WAIT_SECONDS: Final = 120.0


def answer(rng: random.Random, version: str, number: int) -> Answer:
    """Ten items, as `GET /recommend` gives them."""
    items = [
        {
            "item_id": str(rng.randrange(1, 4_000)),
            "title": f"{' '.join(rng.choices(WORDS, k=3))} ({rng.randrange(1930, 2001)})",
            "score": round(rng.random(), 6),
        }
        for _ in range(10)
    ]
    model = {"name": "champion", "version": version, "bento": "recommender:f00d"}
    body = msgspec.json.encode(
        {"request_id": f"r{number}", "items": items, "model": model, "source": "hybrid"}
    ).decode()
    return Answer(version=version, status=200, queue_us=rng.randrange(50), upstream_us=rng.randrange(4_000), body=body)


def frames(pairs: int, incarnation: str, seed: int) -> list[bytes]:
    """The stream of one router, in pieces of about 64 KiB as it sends them."""
    rng, pieces, piece = random.Random(seed), [], bytearray()
    piece += framed(Hello(experiment="bench", incarnation=incarnation, router="bench", started_us=1))
    for number in range(pairs):
        unit = rng.randbytes(16).hex()
        record = PairRecord(
            request_id=rng.randbytes(16).hex(), experiment="bench", incarnation=incarnation, sequence=number,
            arrival_us=1_796_000_000_000_000 + 50 * number, event_time_us=1_796_000_000_000_000 + 50 * number,
            method="GET", target=f"/recommend?user_id={unit}&k=10", unit=unit, bucket=rng.randrange(1_000_000),
            arm="shadow", outcome="paired", primary=answer(rng, "1", number), arm_answer=answer(rng, "2", number),
        )  # fmt: skip
        piece += framed(record)
        if len(piece) >= 1 << 16:
            pieces.append(bytes(piece))
            piece.clear()
    piece += framed(Goodbye(incarnation=incarnation, records=pairs, dropped=0))
    return [*pieces, bytes(piece)]


def framed(value: object) -> bytes:
    """As it goes over the pipe."""
    body = msgspec.json.encode(value)
    return len(body).to_bytes(4, "big") + body


@dataclass(frozen=True)
class Round:
    """One router's stream, from its first byte to its complete manifest in the store."""

    cpu_seconds: float
    seconds: float
    raw_bytes: int
    stored_bytes: int


def measure(running: Running, path: Path, log: Path, pairs: int, seed: int) -> Round:
    """Send it and wait until the store has all."""
    incarnation = f"round-{seed}"
    pieces = frames(pairs, incarnation, seed)
    process = psutil.Process(running.process.pid)
    before, began = _cpu(process), time.monotonic()
    with socket.socket(socket.AF_UNIX) as router:
        router.connect(str(path))
        for piece in pieces:
            router.sendall(piece)
    manifest = log / "bench" / incarnation / "manifest.json"
    while not ((found := read_manifest(manifest)) and found.complete):
        if time.monotonic() - began > WAIT_SECONDS:
            raise TimeoutError(f"the store had not all after {WAIT_SECONDS:.0f} s")
        time.sleep(0.01)
    seconds = time.monotonic() - began
    assert sum(entry.records for entry in found.segments) == pairs
    stored = sum(entry.bytes for entry in found.segments)
    return Round(_cpu(process) - before, seconds, sum(map(len, pieces)), stored)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def shipper(stage: Stage, directory: Path, *options: str | Path) -> Iterator[tuple[Running, Path]]:
    """A shipper and its socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as sockets:
        path = Path(sockets) / "s"
        line = command("shipper", "--socket", path, "--spool", directory / "spool", *options)
        yield stage.start("shipper", line, path.exists), path
        stage.stop("shipper")


def row(name: str, rounds: list[Round], pairs: int) -> str:
    """The table's line."""
    each = Spread.of(one.cpu_seconds / pairs * 1e6 for one in rounds)
    rate = Spread.of(pairs / one.cpu_seconds for one in rounds)
    wall = Spread.of(pairs / one.seconds for one in rounds)
    raw, stored = rounds[0].raw_bytes / pairs, rounds[0].stored_bytes / pairs
    return f"| {name} | {each.text()} | {rate.text(0)} | {wall.text(0)} | {raw:,.0f} → {stored:,.0f} | {len(rounds)} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40_000, help="of a round [40,000]")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    options = parser.parse_args()
    print(
        "| store | µs CPU per pair | pairs per second of CPU | pairs/s, first byte to store | bytes per pair | rounds |"
    )
    print("|---|---|---|---|---|---|")
    slowest = float("inf")
    with tempfile.TemporaryDirectory() as place, Stage(Path(place) / "logs", os.environ | WRITER) as stage:
        root = Path(place)
        where: dict[str, tuple[tuple[str | Path, ...], Path]] = {
            "file://": (("--destination", (root / "log").as_uri()), root / "log")
        }
        gateway = Gateway.opened(stage, root / "gateway") if Gateway.installed() else None
        if gateway is not None:
            there = ("--destination", "s3://pairs/log", "--endpoint", gateway.url)
            where["s3:// (versitygw beside it)"] = there, gateway.bucket / "log"
        for name, (destination, log) in where.items():
            with shipper(stage, root / name[:2], *destination) as (running, path):
                measure(running, path, log, options.pairs // 10, 0)
                rounds = [measure(running, path, log, options.pairs, 1 + number) for number in range(options.rounds)]
            slowest = min(slowest, Spread.of(options.pairs / one.cpu_seconds for one in rounds).median)
            print(row(name, rounds, options.pairs), flush=True)
    print(f"\nGoal: {GOAL:,} pairs per second of one core: {'reached' if slowest >= GOAL else 'MISSED'}.")


if __name__ == "__main__":
    main()
