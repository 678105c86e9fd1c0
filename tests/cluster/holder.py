"""A process that holds the Lease or waits, and writes a line for every moment it acts."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from shadow.controller.api import Api, connected
from shadow.controller.lease import Lease


async def hold(kubeconfig: Path, namespace: str, identity: str, log: Path) -> None:
    """Act every 10 ms while it is held: `log` gets the moment of the wall clock and the identity.

    A file of that identity beside it tells that the lease was seen once.
    """
    lease = Lease(namespace, identity)
    async with await connected(kubeconfig) as client:
        api = Api(client, 10.0, lease.left)
        await lease.attempt(api)
        (log.parent / identity).touch()
        asked = asyncio.create_task(lease.run(api))
        with log.open("a", buffering=1) as out:
            while not asked.done():
                await lease.wait()
                out.write(f"{time.time():.3f} {identity}\n")
                await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(hold(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])))
