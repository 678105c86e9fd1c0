"""CPU of the router per request on the loopback: `python -m tests.bench.router_cpu [--requests N] [--arms N]`.

Not a test: it asserts nothing but that every request was answered and accounted. The router and the shipper are real
processes; upstreams and clients live in this one. CPU is user + system time from /proc (Linux only).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.ports import free_port

BODY = json.dumps({"items": [{"item_id": str(n), "title": f"Item number {n}", "score": 0.5} for n in range(19)]})
ANSWER = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}".encode()
CONNECTIONS = 32


class Upstream(asyncio.Protocol):
    """Answers every request head with the same kilobyte."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


class Client(asyncio.Protocol):
    """One request after the other on one connection."""

    def __init__(self, name: int, requests: int, done: asyncio.Future[int]) -> None:
        self.name, self.left, self.done = name, requests, done
        self.missing = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if not self.missing:
            head, _, rest = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            self.missing = len(BODY) - len(rest)
        else:
            self.missing -= len(data)
        if not self.missing:
            self.left -= 1
            if self.left:
                self._ask()
            else:
                self.transport.close()
                self.done.set_result(0)

    def _ask(self) -> None:
        user = self.name * 100_000 + self.left
        self.transport.write(
            b"GET /recommend?user_id=%d&k=10 HTTP/1.1\r\nHost: reco\r\nAccept: */*\r\nUser-Agent: bench\r\n"
            b"X-Request-Id: r%d\r\n\r\n" % (user, user)
        )


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counters(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counters", timeout=2) as answer:
        return json.load(answer)


async def run_clients(port: int, requests: int) -> float:
    loop = asyncio.get_running_loop()
    started, done = time.monotonic(), [loop.create_future() for _ in range(CONNECTIONS)]
    for name, future in enumerate(done):
        each = requests // CONNECTIONS
        await loop.create_connection(lambda n=name, f=future, r=each: Client(n, r, f), "127.0.0.1", port)
    await asyncio.gather(*done)
    return time.monotonic() - started


async def measure(requests: int, arms: int, fraction: float) -> None:
    loop = asyncio.get_running_loop()
    upstream = await loop.create_server(Upstream, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as name:
        directory, port, admin = Path(name), free_port(), free_port()
        config = directory / "router.json"
        arm = [{"name": f"shadow-{n}", "url": url, "fraction": fraction, "concurrency": 64} for n in range(arms)]
        document = {"experiment": "bench", "listen": f"127.0.0.1:{port}", "admin": f"127.0.0.1:{admin}", "arms": arm}
        config.write_text(json.dumps(document | {"shipper": f"{name}/s", "primary": {"url": url}}))
        command = [sys.executable, "-m", "shadow"]
        environment = os.environ | {"UNDERSTUDY_UNIT_KEY": "only for this benchmark"}
        options = ["--socket", f"{name}/s", "--spool", f"{name}/spool", "--destination", f"file://{name}/out"]
        shipper = subprocess.Popen([*command, "shipper", *options], stderr=subprocess.DEVNULL)
        router = subprocess.Popen([*command, "router", "--config", config], env=environment, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    await asyncio.to_thread(counters, admin)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
            await run_clients(port, 2_000)
            before = cpu_seconds(router), cpu_seconds(shipper)
            seconds = await run_clients(port, requests)
            while any(arm["in_flight"] for arm in (await asyncio.to_thread(counters, admin))["arms"].values()):
                await asyncio.sleep(0.02)
            after = cpu_seconds(router), cpu_seconds(shipper)
            final = await asyncio.to_thread(counters, admin)
        finally:
            for process in (router, shipper):
                process.terminate()
                process.wait(30)
        assert all(arm["balance"] == 0 for arm in final["arms"].values())
        outcomes = {name: {k: v for k, v in arm["outcomes"].items() if v} for name, arm in final["arms"].items()}
        spent = [round((b - a) / requests * 1e6, 1) for a, b in zip(before, after, strict=True)]
        print(
            f"arms {arms} × {fraction}: router {spent[0]} µs, shipper {spent[1]} µs CPU/request, "
            f"{requests / seconds:.0f} requests/s (client and upstreams share the cores), {outcomes}, "
            f"pair log {final['pair_log']}"
        )
    upstream.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=64_000)
    parser.add_argument("--arms", type=int, default=1)
    parser.add_argument("--fraction", type=float, default=1.0)
    options = parser.parse_args()
    asyncio.run(measure(options.requests, options.arms, options.fraction))


if __name__ == "__main__":
    main()
