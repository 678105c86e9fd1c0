"""Where the router's time goes, by function: `python -m tests.bench.router cpu --profile`.

Twice, for both are wrong in their own way: py-spy samples from outside, slows nothing, and gives a function the C calls
that it makes; cProfile tells the C calls apart, and makes small Python functions look dearer than they are.
"""

from __future__ import annotations

import pstats
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from tests.bench.router_load import closed_loop
from tests.bench.router_numbers import table
from tests.bench.router_proxies import Upstreams, proxy, upstreams
from tests.bench.router_stage import Bench, program

TOP: Final = 25
SAMPLES_PER_SECOND: Final = 500
FRAME: Final = re.compile(r"^(.*) \((.*?)(?::\d+)?\)$")


def profile(bench: Bench, seconds: float, large: bool) -> str:
    """Both tables, `TOP` functions each, of the router with one shadow and every request mirrored."""
    with upstreams(bench, large) as to:
        sampled, requests = _sampled(bench, to, seconds)
        measured, counted = _measured(bench, to, seconds)
    head = ("function", "share", "µs per request")
    return "\n".join(
        [
            "### Where the router's time goes",
            "",
            f"By py-spy, {requests:,} requests: exclusive, C calls with who makes them; the shipper is not in it.",
            "",
            table(head, sampled),
            "",
            f"By cProfile, {counted:,} requests: exclusive, C calls apart, slowed by being measured.",
            "",
            table(head, measured),
        ]
    )


def _sampled(bench: Bench, to: Upstreams, seconds: float) -> tuple[list[list[str]], int]:
    out = bench.place("py-spy") / "stacks.txt"
    with proxy(bench, "router", to) as router:
        closed_loop(router.port, 1)
        pid = str(router.parts["router"].process.pid)
        options = ("--rate", str(SAMPLES_PER_SECOND), "--duration", str(round(seconds)), "--format", "raw")
        command = [program("py-spy"), "record", *options, "-o", str(out), "--pid", pid]
        before = router.cpu_seconds()["router"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spying:
            found = closed_loop(router.port, seconds)
            spying.wait(seconds + 30)
        spent = router.cpu_seconds()["router"] - before
    if spying.returncode:
        raise RuntimeError(f"py-spy ended with {spying.returncode}; it needs the right to trace a process of its user")
    return rows(exclusive(out.read_text()), spent / found["answered"]), found["answered"]


def exclusive(stacks: str) -> Counter[str]:
    """Samples by the innermost function, of stacks as py-spy writes them: `a (f.py:1);b (g.py:2) 17`."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        innermost = stack.rsplit(";", 1)[-1]
        match = FRAME.match(innermost)
        found[f"{match[1]} ({match[2]})" if match else innermost] += int(count)
    return found


def rows(shares: Counter[str], seconds_per_request: float) -> list[list[str]]:
    """The `TOP` of them as rows; µs are shares of `seconds_per_request`."""
    total = sum(shares.values())
    shown = shares.most_common(TOP)
    rest = total - sum(count for _, count in shown)
    counted = [*shown, ("all others", rest), ("all", total)]
    us = seconds_per_request * 1e6
    return [[name, f"{count / total:.1%}", f"{count / total * us:.1f}"] for name, count in counted]


def _measured(bench: Bench, to: Upstreams, seconds: float) -> tuple[list[list[str]], int]:
    out = bench.place("cprofile") / "router.prof"
    wrapped = (sys.executable, "-m", "cProfile", "-o", str(out))
    with proxy(bench, "router", to, wrapped=wrapped) as router:
        found = closed_loop(router.port, seconds)
        router.settle()
        process = router.parts["router"].process
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    return _of_file(out, found["answered"]), found["answered"]


def _of_file(path: Path, requests: int) -> list[list[str]]:
    spent: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(str(path)).stats.items():  # type: ignore[attr-defined]
        # epoll's wait is waiting, not work; samples leave it out too.
        if "'poll' of 'select.epoll'" not in name:
            spent[name if file == "~" else f"{name} ({Path(file).name})"] += round(own * 1e9)
    return rows(spent, sum(spent.values()) / 1e9 / requests)
