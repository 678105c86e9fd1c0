"""The same service at 1 M users × 100 K items: made up (`understudy data synth`), so for speed and memory alone."""

from __future__ import annotations

import random
import time
from pathlib import Path

import redis as redis_client

from bentos.bundle import read_manifest
from bentos.payload import read_ids
from shadow.processes import Stage
from shadow.rehearsal import HOST
from tests.bench import serving_stage as on
from tests.ports import free_port

USERS, ITEMS, INTERACTIONS = 1_000_000, 100_000, 30_000_000
ASKED = 20_000
RATES = (100, 500)


def synthetic(directory: Path, stage: Stage, seconds: float) -> None:
    """Make, load, serve, ask; print what each took."""
    bundle, facts, port = directory / "synthetic", directory / "synthetic.parquet", free_port()
    url, environment = f"redis://{HOST}:{port}/0", stage.environment
    sizes = ("--users", str(USERS), "--items", str(ITEMS), "--interactions", str(INTERACTIONS))
    on.understudy("data", "synth", *sizes, "--bundle", bundle, "--facts", facts, environment=environment)
    redis = on.start_redis(stage, port, "--max-memory", "8gb")
    client = redis_client.Redis.from_url(url)
    empty = client.info("memory")["used_memory"]
    told, taken = {}, {}
    for what, options in (("vectors", ()), ("facts", ("--facts", facts))):
        started = time.monotonic()
        on.understudy("features", "load", bundle, *options, "--redis", url, environment=environment)
        taken[what] = time.monotonic() - started
        told[what] = client.info("memory")["used_memory"]
    tag = on.understudy("bento", "build", bundle, environment=environment)
    server, ready = on.start_bento(stage, tag, redis, url)
    manifest = read_manifest(bundle)
    print(f"\nSYNTHETIC: {USERS:,} users × {ITEMS:,} items, {manifest.dimension} dimensions.\n")
    print("| what | figure |\n|---|---|")
    print(
        f"| vectors loaded | {taken['vectors']:.0f} s, {(told['vectors'] - empty) / USERS:,.0f} bytes a user in Redis |"
    )
    print(f"| facts loaded | {taken['facts']:.0f} s, {(told['facts'] - told['vectors']) / USERS:,.0f} bytes a user |")
    size = sum(file.bytes for file in manifest.files.values())
    print(f"| bundle | {size / 1e6:,.0f} MB |")
    print(f"| start to ready | {ready:.1f} s |")
    users = read_ids(bundle / "user_ids.json", manifest.users)
    asked = random.Random(0).sample(users, min(ASKED, len(users)))
    figures = {rate: on.ask(server, asked, rate, seconds) for rate in RATES}
    print(f"| memory of the service, after the load | {server.memory_mb():,.0f} MB |")
    print(f"\n{on.HEAD}\n{on.RULE}")
    for each in figures.values():
        print(f"| {each.row()}")
    stage.stop("bento")
    stage.stop("redis")
