"""What the serving bench stands on: a Redis, servers, an open loop of requests, and the CPU that each of them used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import quote

import psutil

from shadow.processes import Running, Stage, accepts, answers
from shadow.rehearsal import HOST, command
from tests.ports import free_port

VEGETA = shutil.which("vegeta")
GENERATOR = "vegeta" if VEGETA else "understudy load"
HEAD = "| rate/s | not 200 | p50 ms | p95 ms | p99 ms | server µs CPU/request | Redis µs | by the user's vector |"
RULE = "|---|---|---|---|---|---|---|---|"
SERIES = re.compile(r'^understudy_(?:answers_total|feature_faults_total)\{(\w+)="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Figures:
    """One run at one rate. Latencies in ms, CPU in µs per request, `lists` by source."""

    rate: float
    requests: int
    statuses: dict[str, int]
    latency_ms: dict[str, float]
    server_us: float
    redis_us: float
    lists: dict[str, int] = field(default_factory=dict)

    def row(self) -> str:
        """As a row of the table."""
        bad = ", ".join(f"{number:,} × {status}" for status, number in self.statuses.items() if status != "200")
        total = sum(self.lists.values()) or 1
        personal = self.lists.get("hybrid", 0) / total
        figures = " | ".join(f"{self.latency_ms[name]:.1f}" for name in ("p50", "p95", "p99"))
        return (
            f"{self.rate:,.0f} | {bad or 0} of {self.requests:,} | {figures} | "
            f"{self.server_us:,.0f} | {self.redis_us:,.0f} | {personal:.1%} |"
        )


def middle(rounds: Sequence[Figures]) -> Figures:
    """One row of several rounds at one rate: of each latency and each cost the median, of the counts the sum."""
    statuses, lists = Counter[str](), Counter[str]()
    for each in rounds:
        statuses.update(each.statuses)
        lists.update(each.lists)
    return Figures(
        rounds[0].rate,
        sum(each.requests for each in rounds),
        dict(statuses),
        {name: median(each.latency_ms[name] for each in rounds) for name in ("p50", "p95", "p99")},
        median(each.server_us for each in rounds),
        median(each.redis_us for each in rounds),
        dict(lists),
    )


def understudy(*arguments: str | Path, environment: dict[str, str]) -> str:
    """The output of a command of ours; it is shown on standard error."""
    print("understudy", *arguments, file=sys.stderr)
    done = subprocess.run(command(*arguments), env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


@dataclass
class Server:
    """A server under load, with its process family and its Redis's."""

    name: str
    port: int
    running: Running
    redis: Running

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    def lists(self) -> Counter[str]:
        """Lists answered so far by source."""
        return self._counted("source")

    def faults(self) -> Counter[str]:
        """Reads that the feature store failed so far, by kind."""
        return self._counted("fault")

    def _counted(self, label: str) -> Counter[str]:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            found = SERIES.findall(answer.read().decode())
        return Counter({value: int(float(number)) for name, value, number in found if name == label})

    def memory_mb(self) -> float:
        """Resident memory of all its processes."""
        return sum(each.memory_info().rss for each in family(self.running)) / 1e6


def family(running: Running) -> list[psutil.Process]:
    """A process and those below it."""
    return [psutil.Process(running.process.pid), *running.family()]


def cpu_seconds(running: Running) -> float:
    """User and system time of a process and those below it."""
    return sum(sum(each.cpu_times()[:2]) for each in family(running))


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """Processes of one run, with BentoML's store in `directory`."""
    environment = os.environ | {"BENTOML_HOME": str(directory / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    with Stage(directory / "logs", environment) as opened:
        yield opened


def start_redis(opened: Stage, port: int, *options: str) -> Running:
    """A Redis of the laptop's kind."""
    arguments = command("redis", "--port", str(port), "--dir", opened.logs.parent / f"redis-{port}", *options)
    return opened.start("redis", arguments, lambda: accepts(HOST, port))


def start_bento(opened: Stage, tag: str, redis: Running, redis_url: str, *options: str) -> tuple[Server, float]:
    """A bento that is ready, and the seconds that took."""
    port, started = free_port(), time.monotonic()
    arguments = command("serve", tag, "--port", str(port), "--redis", redis_url, *options)
    running = opened.start("bento", arguments, lambda: answers(f"http://{HOST}:{port}/readyz"), seconds=120)
    return Server("bento", port, running, redis), time.monotonic() - started


def start_bare(opened: Stage, kind: str, bundle: Path, redis: Running, redis_url: str) -> Server:
    """The same handler without BentoML; see `tests.bench.bare_server`."""
    port = free_port()
    arguments = [sys.executable, "-m", "tests.bench.bare_server", kind, str(bundle), str(port), redis_url]
    running = opened.start(kind, arguments, lambda: answers(f"http://{HOST}:{port}/model"), seconds=60)
    return Server(kind, port, running, redis)


def ask(server: Server, users: Sequence[str], rate: float, seconds: float) -> Figures:
    """An open loop of `rate` requests a second, for users in turn."""
    before = cpu_seconds(server.running), cpu_seconds(server.redis), server.lists()
    requests, statuses, latency = (_vegeta if VEGETA else _own)(server.url, users, rate, seconds)
    after = cpu_seconds(server.running), cpu_seconds(server.redis), server.lists()
    spent = [(late - early) / requests * 1e6 for early, late in zip(before[:2], after[:2], strict=True)]
    return Figures(rate, requests, statuses, latency, spent[0], spent[1], dict(after[2] - before[2]))


def _vegeta(
    url: str, users: Sequence[str], rate: float, seconds: float
) -> tuple[int, dict[str, int], dict[str, float]]:
    assert VEGETA is not None
    targets = "".join(f"GET {url}/recommend?user_id={quote(user, safe='')}&k=10\n" for user in users)
    attack = [VEGETA, "attack", f"-rate={rate:g}", f"-duration={seconds:g}s", "-timeout=10s", "-max-workers=512"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(targets)
        file.flush()
        hits = subprocess.run([*attack, f"-targets={file.name}"], stdout=subprocess.PIPE, check=True).stdout
    report = subprocess.run([VEGETA, "report", "-type=json"], input=hits, stdout=subprocess.PIPE, check=True).stdout
    found = json.loads(report)
    latency = {name: found["latencies"][key] / 1e6 for name, key in (("p50", "50th"), ("p95", "95th"), ("p99", "99th"))}
    return found["requests"], found["status_codes"], latency


def _own(url: str, users: Sequence[str], rate: float, seconds: float) -> tuple[int, dict[str, int], dict[str, float]]:
    with tempfile.TemporaryDirectory() as name:
        out, ids = Path(name) / "out.json", Path(name) / "users.json"
        ids.write_text(json.dumps(list(users)))
        options = ("--requests", str(int(rate * seconds)), "--rps", str(rate), "--users", ids, "--json-out", out)
        subprocess.run(command("load", "--to", url, *options), stdout=subprocess.DEVNULL)
        found = json.loads(out.read_text())
    return found["requests"], found["statuses"] | found["errors"], found["latency_ms"]
