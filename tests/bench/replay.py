"""What a replay costs: `python -m tests.bench.replay [--seconds S]`.

`understudy replay` on one core at constant rates against an nginx that answers at once on the others. CPU is the whole
command's, its start and the reading of the file included; late: how long after its time a request was sent.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from shadow.processes import StepError
from shadow.rehearsal import HOST, command
from shadow.replay.requests import Recorded
from tests.bench.router_numbers import table
from tests.bench.router_proxies import upstreams
from tests.bench.router_stage import Bench, MissingError, program

RATES: Final = (500, 1_000, 2_000, 3_000, 4_000)
USERS: Final = 5_000


def measured(bench: Bench, port: int, rate: int, seconds: float) -> dict[str, Any]:
    """One run at that rate; its own counts and its CPU seconds."""
    place = bench.place("replay")
    count = int(rate * seconds)
    requests = (Recorded(number, str(number % USERS)) for number in range(count))
    (place / "requests.jsonl").write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in requests))
    out = place / "out.json"
    options = ("--requests", place / "requests.jsonl", "--rhythm", "constant", "--rps", str(rate), "--json-out", out)
    replay = command("replay", *options, "--to", f"http://{HOST}:{port}", "--connections", "32")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pinned = [program("taskset"), "-c", str(bench.cores.proxy), *replay]
    subprocess.run(pinned, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60 + 4 * seconds, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(out.read_bytes()) | {"cpu": spent}


def row(rate: int, found: dict[str, Any]) -> list[object]:
    """One line of the table."""
    return [
        f"{rate:,}",
        f"{found['requests'] / found['seconds']:,.0f}",
        found["requests"] - found["statuses"].get("200", 0),
        f"{found['cpu'] / found['requests'] * 1e6:.0f}",
        *(f"{found[name][point]:.2f}" for name in ("late_ms", "latency_ms") for point in ("p50", "p99")),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="of each rate [10]")
    options = parser.parse_args()
    head = ("rate/s", "sent/s", "not 200", "µs CPU/request", "late p50 ms", "late p99 ms", "p50 ms", "p99 ms")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="understudy-replay-") as place,
            Bench.opened(Path(place)) as bench,
            upstreams(bench) as to,
        ):
            print(table(head, [row(rate, measured(bench, to.primary, rate, options.seconds)) for rate in RATES]))
    except (MissingError, StepError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
