"""Run a bench and put what it prints into docs/benchmarks.md: `python -m tests.bench.record NAME [its options]`.

Each bench has a block of its own between two markers, with the command, the commit, the date and the machine. NAME may
be `index:alone`: the bench `index` with other options, in a block of that name.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

from training.run_facts import commit

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def machine() -> str:
    """Processor, cores that this process may use, memory, system and Python."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(": ", 1)[1] for line in info.read_text().splitlines() if line.startswith("model name")]
        if (info.exists())
        else []
    )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = names[0] if names else platform.processor()
    return f"{name}, {cores} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def with_block(text: str, name: str, block: str) -> str:
    """`text` with the block of the bench `name` replaced, or appended when there is none."""
    begin, end = f"<!-- bench: {name} -->", f"<!-- end of bench: {name} -->"
    whole = f"{begin}\n{block}\n{end}"
    before, found, rest = text.partition(begin)
    if not found:
        return f"{text.rstrip()}\n\n{whole}\n"
    return before + whole + rest.partition(end)[2]


def main(arguments: list[str]) -> None:
    """Run, print, write."""
    name = arguments[0]
    module = f"tests.bench.{name.partition(':')[0]}"
    command = [sys.executable, "-m", module, *arguments[1:]]
    origin = f"{commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}; {machine()}"
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout)
    shown = shlex.join(["python", "-m", module, *arguments[1:]])
    block = f"`{shown}` · {origin}\n\n{done.stdout.strip()}"
    DOCUMENT.write_text(with_block(DOCUMENT.read_text(), name, block))


if __name__ == "__main__":
    main(sys.argv[1:])
