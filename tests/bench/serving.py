"""Serving under load: `make bench-serving`, or `python -m tests.bench.serving [--rates …] [--seconds N]`.

Real processes on this machine, the load among them: its CPU is taken from the same cores, so a better machine shows
better figures. MovieLens-1M's champion, trained before the cut, every user with a vector in turn, k = 10, features in a
real Redis. Open loop: a request is sent when the rate says so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bentos.bundle import BundleManifest, load_bundle
from shadow.processes import Running, Stage
from shadow.rehearsal import HOST
from shadow.replay.client import Replay
from shadow.replay.requests import Recorded
from tests import redis_faults
from tests.bench import serving_stage as on
from tests.bench.serving_synthetic import synthetic
from tests.ports import free_port

RATES = (100, 250, 500, 750, 1_000, 1_250, 1_500)
WARM_SECONDS = 5
MATRIX_RATE = 300
COMPARED = 500
ROUNDS = 5
BENTO, FRONT, FASTAPI = "the bento", "our front on uvicorn", "bare FastAPI on uvicorn"
CORRUPT = 1_000
"""Users whose vectors are made none."""
CONFIG = "training/configs/champion.toml"


@contextmanager
def frozen(redis: Running) -> Iterator[None]:
    """Redis neither answers nor ends."""
    processes = on.family(redis)
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        for each in processes:
            each.resume()


def prepare(directory: Path, stage: Stage) -> tuple[Path, str]:
    """MovieLens-1M's champion as a bundle and a bento, and the facts."""
    environment = stage.environment
    on.understudy("data", "facts", "--until", "train", "--out", directory / "facts.parquet", environment=environment)
    tracking = f"sqlite:///{directory / 'mlflow.db'}"
    options = ("--fit", "train", "--bundle", directory / "bundle", "--tracking", tracking)
    on.understudy("train", CONFIG, *options, environment=environment)
    return directory / "bundle", on.understudy("bento", "build", directory / "bundle", environment=environment)


def load_features(bundle: Path, facts: Path, url: str, stage: Stage) -> None:
    """Vectors and facts into Redis."""
    on.understudy("features", "load", bundle, "--facts", facts, "--redis", url, environment=stage.environment)


def rates(server: on.Server, users: list[str], wanted: list[float], seconds: float) -> None:
    """The table of one server over the rates."""
    print(f"{on.HEAD}\n{on.RULE}")
    on.ask(server, users, 200, WARM_SECONDS)
    for rate in wanted:
        print("| " + on.ask(server, users, rate, seconds).row(), flush=True)


def compare(servers: dict[str, on.Server], users: list[str], seconds: float) -> None:
    """The same handler, limits and metrics in several servers that run side by side, asked in turn."""
    print(f"\nThe same handler, limits and metrics with and without BentoML at {COMPARED:,}/s, in turn. Of each column")
    print(f"the median of {ROUNDS} rounds; requests, and lists by the user's vector, of all rounds:\n")
    print(f"| server {on.HEAD}\n|---{on.RULE}")
    found: dict[str, list[on.Figures]] = {name: [] for name in servers}
    for server in servers.values():
        on.ask(server, users, 200, WARM_SECONDS)
    for _ in range(ROUNDS):
        for name, server in servers.items():
            found[name].append(on.ask(server, users, COMPARED, seconds / 2))
    for name, rounds in found.items():
        print(f"| {name} | {on.middle(rounds).row()}", flush=True)
    cost = {name: on.middle(rounds).server_us for name, rounds in found.items()}
    bento, fastapi = cost[BENTO] - cost[FRONT], cost[FASTAPI] - cost[FRONT]
    print(
        f"\nOf µs of CPU a request, BentoML costs {bento:,.0f} (the bento − our front on uvicorn). FastAPI's way costs"
    )
    print(f"{fastapi:,.0f} (bare FastAPI − our front); `GET /recommend` of a bento does without it.")


def matrix(
    server: on.Server, users: list[str], bundle: BundleManifest, url: str, reload: Callable[[bool], object]
) -> None:
    """Redis killed, started empty, loaded again, and all that may befall it while it runs, while requests come: what
    every one of them got.
    """
    columns = "requests | not 200 | empty | by source | faults | p50 ms | p95 ms | p99 ms"
    print(f"\n| Redis, at {MATRIX_RATE}/s | {columns} |")
    print("|---|---|---|---|---|---|---|---|---|")
    steps = {
        "there": lambda: None,
        "killed": lambda: [each.kill() for each in on.family(server.redis)],
        "started again, empty": lambda: reload(True),
        "loaded again": lambda: reload(False),
    }
    for name, step in steps.items():
        print(matrix_row(name, server, users, step), flush=True)
    some = users[:CORRUPT]
    befalls = {
        "frozen": frozen(server.redis),
        "slow: 40 ms": redis_faults.slow(url),
        "out of memory": redis_faults.full(url),
        "wrong password": redis_faults.another_password(url, "default", "nopass"),
        f"{len(some):,} corrupt values": redis_faults.corrupt_vectors(url, bundle.version, bundle.users, some),
    }
    for name, befallen in befalls.items():
        with befallen:
            print(matrix_row(name, server, users, lambda: None), flush=True)
        print(matrix_row("going on", server, users, lambda: None), flush=True)


def matrix_row(name: str, server: on.Server, users: list[str], step: Callable[[], object]) -> str:
    """One row of the matrix."""
    before = server.faults()
    tally = play(server, users, step)
    sources, faults = counts(tally["sources"]), counts(server.faults() - before)
    bad = tally["requests"] - tally["statuses"].get("200", 0)
    latency = " | ".join(f"{tally['latency_ms'][each]:.1f}" for each in ("p50", "p95", "p99"))
    return f"| {name} | {tally['requests']:,} | {bad} | {tally['empty']} | {sources} | {faults} | {latency} |"


def counts(found: Mapping[str, int]) -> str:
    """Numbers by name in one cell."""
    return ", ".join(f"{name} {number:,}" for name, number in sorted(found.items())) or "none"


def play(server: on.Server, users: list[str], step: Callable[[], object], seconds: float = 10.0) -> dict:
    """An open loop that reads every body; `step` is done a second after its start."""
    count = int(MATRIX_RATE * seconds)
    requests = [Recorded(0, users[number % len(users)]) for number in range(count)]
    client = Replay(HOST, server.port, 128, lambda: None)

    async def run() -> None:
        doing = asyncio.create_task(later())
        await client.play(requests, [number / MATRIX_RATE for number in range(count)], seconds + 30, ())
        await doing

    async def later() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(step)

    asyncio.run(run())
    return client.tally.document()


def parser() -> argparse.ArgumentParser:
    """The options; without any, all that docs/benchmarks.md shows is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=lambda text: [float(each) for each in text.split(",")], default=list(RATES))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument(
        "--synthetic",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also 1 M users × 100 K items, made up (10 minutes)",
    )
    return parser


def main() -> None:
    """Prepare, measure, print."""
    options = parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="understudy-serving-") as name, on.stage(Path(name)) as stage:
        directory, redis_port = Path(name), free_port()
        url = f"redis://{HOST}:{redis_port}/0"
        bundle, tag = prepare(directory, stage)
        redis = on.start_redis(stage, redis_port)
        load_features(bundle, directory / "facts.parquet", url, stage)
        loaded = load_bundle(bundle)
        users = random.Random(0).sample(loaded.user_ids, len(loaded.user_ids))
        manifest = loaded.manifest
        size = f"{manifest.items:,} items, {manifest.users:,} users, {manifest.dimension} dimensions"
        print(f"{size}; load by {on.GENERATOR}.\n")
        server, seconds = on.start_bento(stage, tag, redis, url)
        print(f"The bento, one worker (ready after {seconds:.1f} s, {server.memory_mb():,.0f} MB):\n")
        rates(server, users, options.rates, options.seconds)

        def again(empty: bool) -> None:
            if empty:
                stage.stop("redis")
                server.redis = on.start_redis(stage, redis_port)
            else:
                load_features(bundle, directory / "facts.parquet", url, stage)

        matrix(server, users, manifest, url, again)
        kinds = {"front": FRONT, "fastapi": FASTAPI}
        bare = {about: on.start_bare(stage, kind, bundle, server.redis, url) for kind, about in kinds.items()}
        compare({BENTO: server} | bare, users, options.seconds)
        for name in ("bento", *kinds):
            stage.stop(name)
        stage.stop("redis")
        if options.synthetic:
            synthetic(directory, stage, options.seconds)


if __name__ == "__main__":
    main()
