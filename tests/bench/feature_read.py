"""What reading features costs this process: `python -m tests.bench.feature_read [--reads N]`.

Against a Redis started by `understudy redis`, vector of 64 dimensions, 150 items seen, 50 events. Ours: a few
connections, each taking all reads that wait. Beside it what redis-py offers: a pipeline on a connection of its pool.
Closed loop: so many readers, each asking again when it has its answer. Open loop: reads arrive at random at a given
rate whether or not others are answered; the arrival itself costs some CPU, the same in every row. CPU is this
process's own, without Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
import timeit
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import redis
import redis.asyncio

from bentos.feature_store import RedisFeatureStore, decoded_events, decoded_seen
from bentos.features import Event, bucket_of, buckets_of, events_key, seen_key, vectors_key
from tests.bench.feature_load import server

USERS, DIMENSION, VERSION = 1_000, 64, "0" * 12
SEEN, EVENTS = 150, 50
MOST_SEEN = 2_314
"""Of the user with the longest history in MovieLens-1M."""
DEADLINE = 1.0
Read = Callable[[str], Awaitable[Any]]


def fill(url: str) -> None:
    """A thousand users."""
    rng = np.random.default_rng(1)
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(USERS):
            user = f"u{number}"
            key = vectors_key(VERSION, bucket_of(user.encode(), buckets_of(USERS)))
            pipeline.hset(key, user.encode(), rng.standard_normal(DIMENSION, dtype=np.float32).tobytes())
            pipeline.set(seen_key(user), "\n".join(map(str, rng.choice(3_700, SEEN, replace=False))))
            events = [Event(str(rng.integers(3_700)), 4.0, 10**15 + at) for at in range(EVENTS)]
            pipeline.set(events_key(user), msgspec.msgpack.encode(events))
        pipeline.execute()


def pooled(url: str, kind: type[redis.asyncio.ConnectionPool], connections: int) -> Read:
    """redis-py's own way."""
    client = redis.asyncio.Redis(connection_pool=kind.from_url(url, max_connections=connections))

    async def read(user: str) -> Any:
        pipeline = client.pipeline(transaction=False)
        pipeline.hget(vectors_key(VERSION, bucket_of(user.encode(), buckets_of(USERS))), user)
        pipeline.get(seen_key(user))
        pipeline.get(events_key(user))
        async with asyncio.timeout(DEADLINE):
            vector, seen, events = await pipeline.execute()
        return np.frombuffer(vector, "<f4"), decoded_seen(seen), decoded_events(events)

    return read


async def closed_loop(read: Read, readers: int, reads: int) -> str:
    """CPU µs a read, and reads a second."""
    numbers = iter(range(reads))

    async def reader() -> None:
        for number in numbers:
            await read(f"u{number % USERS}")

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(reader() for _ in range(readers)))
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - started
    return f"{cpu / reads * 1e6:.0f} µs, {reads / seconds:,.0f}/s"


async def open_loop(read: Read, rate: int, reads: int) -> str:
    """CPU µs a read, and the 50th and 99th percentile from the due time on."""
    loop, rng = asyncio.get_running_loop(), random.Random(1)
    taken: list[float] = []

    async def one(number: int, due: float) -> None:
        try:
            await read(f"u{number % USERS}")
        except (TimeoutError, redis.RedisError):
            taken.append(float("inf"))
        else:
            taken.append(loop.time() - due)

    tasks = set()
    due, cpu = loop.time(), time.process_time()
    for number in range(reads):
        due += rng.expovariate(rate)
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    cpu = time.process_time() - cpu
    taken.sort()
    return f"{cpu / reads * 1e6:.0f} µs, {taken[reads // 2] * 1e3:.1f} / {taken[reads * 99 // 100] * 1e3:.1f} ms"


async def compare(url: str, reads: int) -> None:
    """One row for each way to read."""
    ways: dict[str, Read] = {
        "redis-py, blocking pool of 32": pooled(url, redis.asyncio.BlockingConnectionPool, 32),
        "redis-py, pool of 1,024": pooled(url, redis.asyncio.ConnectionPool, 1_024),
    }
    stores = {
        count: RedisFeatureStore(url, VERSION, USERS, DIMENSION, DEADLINE, count, batch_deadline_seconds=DEADLINE)
        for count in (1, 2, 4, 8)
    }
    ways |= {f"ours, connections: {count}" + " (default)" * (count == 4): store.read for count, store in stores.items()}
    print("| way | 1 reader | 16 readers | open loop, 500/s: CPU, p50 / p99 | 1,500/s |\n|---|---|---|---|---|")
    for name, read in ways.items():
        await closed_loop(read, 4, 100)
        cells = [await closed_loop(read, 1, reads), await closed_loop(read, 16, reads)]
        cells += [await open_loop(read, 500, reads), await open_loop(read, 1_500, reads)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for store in stores.values():
        await store.close()


def decoding() -> None:
    """What it costs to make sense of the values."""
    print("\n| value | bytes | µs to decode |\n|---|---|---|")
    events = msgspec.msgpack.encode([Event(str(at), 4.0, 10**15 + at) for at in range(EVENTS)])
    for name, value, decode in (
        (f"{SEEN} items seen", "\n".join(map(str, range(SEEN))).encode(), decoded_seen),
        (f"{MOST_SEEN:,} items seen", "\n".join(map(str, range(MOST_SEEN))).encode(), decoded_seen),
        (f"{EVENTS} events", events, decoded_events),
    ):
        best = min(timeit.repeat(lambda v=value, d=decode: d(v), number=200, repeat=7)) / 200
        print(f"| {name} | {len(value):,} | {best * 1e6:.0f} |")


def main() -> None:
    """Fill, read in every way, decode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reads", type=int, default=5_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as url:
        fill(url)
        asyncio.run(compare(url, arguments.reads))
    decoding()


if __name__ == "__main__":
    main()
