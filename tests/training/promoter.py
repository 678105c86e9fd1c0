"""One of several processes that promote at once: it stops before it writes its record, until it is told to go on.

`python -m tests.training.promoter URI NAME`. Each line of stdin is a version to promote, then an empty line to go on.
Lines of stdout: "ready", then per promotion "writing" and the outcome as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import warnings

import httpx

warnings.simplefilter("ignore")


class Gate(httpx.AsyncBaseTransport):
    """Holds the first record of each promotion back, so that all writers have seen the same log."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.armed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.armed and request.url.path.endswith("/model-versions/create"):
            self.armed = False
            say("writing")
            sys.stdin.readline()
        return await self._inner.handle_async_request(request)


def say(line: str) -> None:
    print(line, flush=True)


async def main(uri: str, name: str) -> None:
    from bentos.errors import PromotionLostError
    from bentos.promotions import Promotions
    from bentos.registry import Registry
    from bentos.settings import RegistrySettings
    from training.local_registry import Handlers

    gate = Gate(httpx.AsyncHTTPTransport() if uri.startswith("http") else Handlers(uri))
    async with Registry(uri, RegistrySettings(60, "", "", ""), gate) as registry:
        say("ready")
        while line := sys.stdin.readline().strip():
            gate.armed = True
            outcome: dict[str, object]
            try:
                record = await Promotions(registry).promote("champion", int(line), name)
                assert record is not None
                outcome = {"won": record.number}
            except PromotionLostError as error:
                outcome = {"told": str(error)}
            say(json.dumps(outcome))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
