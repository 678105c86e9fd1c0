"""Serving under load: `make bench-serving`, or `python -m tests.bench.serving [--rates …] [--seconds N] [--synthetic]`.

Real processes on this machine, the load among them: its CPU is taken from the same cores, so a better machine shows
better figures. MovieLens-1M's champion, trained before the cut, every user with a vector in turn, k = 10, features in a
real Redis. Open loop: a request is sent when the rate says so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bentos.bundle import load_bundle
from shadow.processes import Running, Stage
from shadow.rehearsal import HOST
from shadow.replay_client import Recorded, Replay
from tests.bench import serving_stage as on
from tests.bench.serving_synthetic import synthetic
from tests.ports import free_port

RATES = (100, 250, 500, 750, 1_000, 1_250, 1_500)
WARM_SECONDS = 5
MATRIX_RATE = 300
COMPARED = 500
ROUNDS = 5
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
    """The same handler in several servers that run side by side: in turn, and the median of the rounds by CPU."""
    print(f"\nThe same handler with and without BentoML at {COMPARED:,}/s, in turn, median of {ROUNDS} rounds:\n")
    print(f"| server {on.HEAD}\n|---{on.RULE}")
    found: dict[str, list[on.Figures]] = {name: [] for name in servers}
    for server in servers.values():
        on.ask(server, users, 200, WARM_SECONDS)
    for _ in range(ROUNDS):
        for name, server in servers.items():
            found[name].append(on.ask(server, users, COMPARED, seconds / 2))
    for name, rounds in found.items():
        middle = sorted(rounds, key=lambda each: each.server_us)[ROUNDS // 2]
        print(f"| {name} | {middle.row()}", flush=True)


def matrix(server: on.Server, users: list[str], stage: Stage, reload: Callable[[bool], object]) -> None:
    """Redis killed, started empty, loaded again, frozen, while requests come: what every one of them got."""
    print("\n| Redis, at 300 requests/s | requests | not 200 | empty | by source | p50 ms | p95 ms | p99 ms |")
    print("|---|---|---|---|---|---|---|---|")
    steps = {
        "there": lambda: None,
        "killed": lambda: [each.kill() for each in on.family(server.redis)],
        "started again, empty": lambda: reload(True),
        "loaded again": lambda: reload(False),
    }
    for name, step in steps.items():
        tally = play(server, users, step)
        print(matrix_row(name, tally), flush=True)
    with frozen(server.redis):
        print(matrix_row("frozen", play(server, users, lambda: None)), flush=True)
    print(matrix_row("going on", play(server, users, lambda: None)), flush=True)


def matrix_row(name: str, tally: dict) -> str:
    """One row of the matrix."""
    sources = ", ".join(f"{source} {number:,}" for source, number in sorted(tally["sources"].items()))
    bad = tally["requests"] - tally["statuses"].get("200", 0)
    latency = " | ".join(f"{tally['latency_ms'][each]:.1f}" for each in ("p50", "p95", "p99"))
    return f"| {name} | {tally['requests']:,} | {bad} | {tally['empty']} | {sources} | {latency} |"


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


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=lambda text: [float(each) for each in text.split(",")], default=list(RATES))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--synthetic", action="store_true", help="also 1 M users × 100 K items, made up (10 minutes)")
    options = parser.parse_args()
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

        matrix(server, users, stage, again)
        kinds = {"front": "our front on uvicorn", "fastapi": "bare FastAPI on uvicorn"}
        bare = {about: on.start_bare(stage, kind, bundle, server.redis, url) for kind, about in kinds.items()}
        compare({"the bento": server} | bare, users, options.seconds)
        for name in ("bento", *kinds):
            stage.stop(name)
        stage.stop("redis")
        if options.synthetic:
            synthetic(directory, stage, options.seconds)


if __name__ == "__main__":
    main()
