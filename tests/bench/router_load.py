"""Load on a proxy: as much as it takes (`wrk`, a closed loop, for CPU), or at a rate (an open loop, for latency)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from typing import Any, Final

from shadow.rehearsal import HOST
from tests.bench.router_proxies import Upstreams
from tests.bench.router_stage import PEERS, ROOT, Bench, Proxy, Watch, program

CONNECTIONS: Final = 32
ERRORS: Final = ("connect", "read", "write", "status", "timeout")


def closed_loop(port: int, seconds: float) -> dict[str, Any]:
    """wrk's count of a run over `CONNECTIONS` connections: answered, seconds, errors by kind."""
    options = [
        "-t",
        "1",
        "-c",
        str(CONNECTIONS),
        "-d",
        f"{max(1, round(seconds))}s",
        "-s",
        str(PEERS / "recommend.lua"),
    ]
    command = [program("wrk"), *options, f"http://{HOST}:{port}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 30)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    errors = {name: found[name] for name in ERRORS if found[name]}
    return {"answered": found["answered"], "seconds": found["seconds"], "errors": errors}


def open_loop(port: int, rate: float, seconds: float, expect: str = "hybrid-v3") -> dict[str, Any]:
    """What `tests.bench.router_client` tells of its run, in a process of its own."""
    options = ("--port", str(port), "--rate", str(rate), "--seconds", str(seconds), "--expect", expect)
    command = [sys.executable, "-m", "tests.bench.router_client", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=seconds + 60)
    return json.loads(done.stdout)


def served(upstreams: Upstreams) -> int:
    """How many requests primary and shadow have had, by nginx's own count (without that of asking)."""
    with urllib.request.urlopen(f"http://{HOST}:{upstreams.status}/", timeout=5) as answer:
        text = answer.read().decode()
    found = re.search(r"^\s*\d+ \d+ (\d+)\s*$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"nginx's status is not understood: {text!r}")
    return int(found[1])


def cost(bench: Bench, proxy: Proxy, to: Upstreams, seconds: float, warm: float = 1.0) -> dict[str, Any]:
    """CPU per request of a proxy by part under a closed loop, and what became of the copies.

    The CPU counts until copies and records are settled: what a proxy puts off, it pays too.
    """
    closed_loop(proxy.port, warm)
    proxy.settle()
    watch, had, logged = Watch(bench.cores, proxy), served(to), recorded(proxy)
    found = closed_loop(proxy.port, seconds)
    proxy.settle()
    spent, others, has = watch.spent(), watch.others(), served(to)
    requests = found["answered"]
    us = {part: seconds / requests * 1e6 for part, seconds in spent.items()}
    # One request of nginx's count is that of asking for it.
    copies = has - had - 1 - requests
    return found | {
        "us": us,
        "others": others,
        "total_us": sum(us.values()),
        "per_second": requests / found["seconds"],
        "copies_per_request": copies / requests,
        "records_per_request": (recorded(proxy) - logged) / requests,
        "balance": [arm["balance"] for arm in proxy.counters().get("arms", {}).values()],
    }


def recorded(proxy: Proxy) -> int:
    """Pairs with both answers that have gone to the pair log; 0 for who keeps none."""
    found = proxy.counters()
    if not found:
        return 0
    pairs = sum(arm["outcomes"]["paired"] for arm in found["arms"].values())
    return pairs - found["pair_log"]["dropped"]
