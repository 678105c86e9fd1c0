"""A way from this machine to one Service, through the API server: no port of it stands open meanwhile.

Next module: `k8s.local.commands`.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from k8s.local.cluster import Cluster
from k8s.local.settings import environment
from shadow.processes import StepError, interrupt

LINE: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
START_SECONDS: Final = 30.0


@contextmanager
def forwarded(cluster: Cluster, namespace: str, target: str, port: int) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to `port` of `target` (service/redis, pod/NAME) for the length of the block."""
    command = cluster.command("port-forward", "--namespace", namespace, "--address", "127.0.0.1", target, f":{port}")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), bufsize=1
    )
    deadline = threading.Timer(START_SECONDS, process.kill)
    # What it says later is read, or it would wait for a reader.
    drain = threading.Thread(target=lambda: list(process.stdout or ()), daemon=True)
    deadline.start()
    try:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if match := LINE.search(line):
                break
        else:
            raise StepError(f"no way to {target} in {namespace}: {''.join(lines).strip() or 'it took too long'}")
        deadline.cancel()
        drain.start()
        yield int(match[1])
    finally:
        deadline.cancel()
        interrupt(process, 10)
        if drain.ident is not None:
            drain.join()
        if process.stdout is not None:
            process.stdout.close()
