"""One of several processes that use the test period: `python -m tests.training.user_of_test_period URI`.

Each line of stdin is the digest of the data. It stops before it writes its record until there is an empty line. Lines
of stdout: "ready", then per use "writing" and the outcome as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

import httpx

from tests.training.promoter import Gate, say


async def main(uri: str) -> None:
    from bentos.registry import Registry
    from bentos.settings import RegistrySettings
    from tests.training.test_tracking import EXPERIMENT
    from training.errors import ConfigurationError
    from training.local_registry import Handlers
    from training.uses import write

    gate = Gate(httpx.AsyncHTTPTransport() if uri.startswith("http") else Handlers(uri))
    async with Registry(uri, RegistrySettings(120, "", "", ""), gate) as registry:
        say("ready")
        while line := sys.stdin.readline().strip():
            gate.armed = True
            try:
                outcome = {"use": (await write(registry, "evaluation", [EXPERIMENT], line)).number}
            except ConfigurationError as error:
                outcome = {"told": str(error)}
            say(json.dumps(outcome))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
