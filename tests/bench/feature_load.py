"""Loading, verifying and dropping features: `python -m tests.bench.feature_load [--users N] [--dimension D]`.

Bundle and facts are made up (random vectors, histories of a geometric length); the commands are the real ones, each a
process of its own, against a Redis started by `understudy redis`. Seconds by the clock, start-up and the bundle's
verification included; the rate as the command tells it, without them; peak memory as the process itself tells it at its
end, for what the kernel tells of a child (ru_maxrss) begins with the peak of its parent, which made the data. A reader
asks Redis for one user all the while: the longest it had to wait says whether a step blocks Redis.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import redis

from analysis.lists import head_mask
from bentos.bundle import load_bundle, write_bundle
from bentos.catalogue import catalogue_table
from bentos.feature_facts import FACTS
from bentos.features import bucket_of, buckets_of, encoded, vectors_key
from tests.bentos.bundles import FOLD_IN
from tests.ports import free_port

ITEMS = 1_000
EVENTS = 20
"""Mean length of a history."""
COMMAND = """
import atexit, sys
from shadow.cli import run

@atexit.register
def tell():
    from training.command_parts import peak_bytes
    print(peak_bytes(), file=sys.stderr)

run()
"""
"""`understudy`, with its peak memory as the last line of stderr."""
CHUNK = 50_000
"""Users written at once."""


@dataclass
class Probe:
    """Reads one user again and again; keeps the longest wait, in seconds."""

    url: str
    key: str
    user: bytes
    longest: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told to stop."""
        with redis.Redis.from_url(self.url) as client:
            client.ping()
            while not self.stop.is_set():
                started = time.perf_counter()
                client.hget(self.key, self.user)
                self.longest = max(self.longest, time.perf_counter() - started)
                time.sleep(0.002)


def write(directory: Path, users: int, dimension: int) -> tuple[Path, Path]:
    """A bundle and a facts file."""
    rng = np.random.default_rng(1)
    ids = [f"i{number:05d}" for number in range(ITEMS)]
    popularity = np.arange(ITEMS, 0, -1)
    catalogue = catalogue_table(
        ids,
        ids,
        [["Drama"]] * ITEMS,
        [1990] * ITEMS,
        popularity,
        popularity,
        np.ones(ITEMS, np.int64),
        ~head_mask(popularity),
    )
    user_ids = [f"u{number:08d}" for number in range(users)]
    write_bundle(
        directory / "bundle",
        name="bench",
        item_ids=ids,
        item_vectors=rng.standard_normal((ITEMS, dimension), dtype=np.float32),
        user_ids=user_ids,
        user_vectors=rng.standard_normal((users, dimension), dtype=np.float32),
        catalogue=catalogue,
        fold_in=None if dimension != FOLD_IN.dimension else FOLD_IN,
        labels={},
    )
    with pq.ParquetWriter(directory / "facts.parquet", FACTS, compression="zstd") as out:
        for start in range(0, users, CHUNK):
            out.write_table(_histories(user_ids[start : start + CHUNK], ids, rng))
    return directory / "bundle", directory / "facts.parquet"


def _histories(users: list[str], items: list[str], rng: np.random.Generator) -> pa.Table:
    lengths = rng.geometric(1 / EVENTS, len(users))
    rows = int(lengths.sum())
    owner = np.repeat(np.arange(len(users)), lengths)
    when = rng.integers(10**15, 2 * 10**15, rows)
    when = when[np.lexsort((when, owner))]
    return pa.table(
        {
            "user_id": pa.array(users).take(pa.array(owner)),
            "item_id": pa.array(items).take(pa.array(rng.integers(0, len(items), rows))),
            "rating": rng.choice(np.arange(1, 11, dtype=np.float32) / 2, rows),
            "timestamp_us": when,
        },
        FACTS,
    )


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """A Redis started by our own command."""
    port = free_port()
    command = [sys.executable, "-m", "shadow", "redis", "--port", str(port), "--dir", str(directory)]
    process = subprocess.Popen([*command, "--max-memory", "12gb"], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        for _ in range(600):
            try:
                redis.Redis.from_url(url).ping()
                break
            except redis.ConnectionError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def step(title: str, probe: Probe, *arguments: str | Path) -> str:
    """Run `understudy features ARGUMENTS…`; prints a row, returns what the command printed."""
    probe.longest = 0.0
    started = time.perf_counter()
    options = ["features", *map(str, arguments), "--redis", probe.url]
    done = subprocess.run([sys.executable, "-c", COMMAND, *options], capture_output=True, text=True, check=False)
    seconds, output = time.perf_counter() - started, done.stdout
    if done.returncode:
        raise SystemExit(f"understudy {' '.join(options)} ended with {done.returncode}: {output}{done.stderr}")
    peak = int(done.stderr.splitlines()[-1])
    rate = re.search(r"\(([\d,]+) users/s", output)
    cells = (f"{seconds:.1f}", rate.group(1) if rate else "", f"{peak / 1e6:,.0f} MB", f"{probe.longest * 1e3:.1f} ms")
    print(f"| {title} | {' | '.join(cells)} |", flush=True)
    return output


def main() -> None:
    """Make the data, run every command, print the table and the bytes per user."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, server(Path(name) / "redis") as url:
        bundle, facts = write(Path(name), arguments.users, arguments.dimension)
        loaded = load_bundle(bundle, verify=False)
        version, user = loaded.manifest.version, encoded(loaded.user_ids[7])
        probe = Probe(url, vectors_key(version, bucket_of(user, buckets_of(arguments.users))), user)
        del loaded
        asking = threading.Thread(target=probe.run)
        asking.start()
        try:
            run(probe, bundle, facts, version, arguments.users)
        finally:
            probe.stop.set()
            asking.join()


def run(probe: Probe, bundle: Path, facts: Path, version: str, users: int) -> None:
    """All steps in turn."""
    client = redis.Redis.from_url(probe.url)
    info = client.info("server")
    name = "Valkey " + info["valkey_version"] if "valkey_version" in info else "Redis " + info["redis_version"]
    rows = pq.ParquetFile(facts).metadata.num_rows
    print(f"{users:,} users, {rows:,} events; {name}.\n")
    print("| step | seconds | users/s | peak memory | longest wait of a reader |\n|---|---|---|---|---|")
    empty = client.info("memory")["used_memory"]
    step("load vectors", probe, "load", bundle)
    with_vectors = client.info("memory")["used_memory"]
    step("load them again: nothing to do", probe, "load", bundle)
    step("verify", probe, "verify", bundle)
    step("load facts", probe, "load", bundle, "--facts", facts)
    with_facts = client.info("memory")["used_memory"]
    step("load facts again, joining each user", probe, "load", bundle, "--facts", facts, "--again")
    step("pin", probe, "pin", version, "--by", "bench")
    step("unpin", probe, "unpin", version, "--by", "bench")
    listed = json.loads(step("list", probe, "list", "--json"))
    step("drop", probe, "drop", version)
    sampled = listed[0]["megabytes"] * 1e6 / users
    print(
        f"\nBytes per user in Redis: vector {(with_vectors - empty) / users:.0f} (by the list's sample {sampled:.0f}), "
        f"facts {(with_facts - with_vectors) / users:.0f}."
    )


if __name__ == "__main__":
    main()
