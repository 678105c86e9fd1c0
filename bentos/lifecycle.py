"""Where a process of the service stands: starting → ready → draining.

On SIGTERM the readiness probe fails first, while requests are still answered: whoever sends them learns it before the
door closes. Then the server stops accepting, and ends when the requests under way are answered. Next module:
`bentos.front`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bentos.metrics import NoMetrics, ServiceMetrics
from bentos.problems import ProblemError, unavailable

if TYPE_CHECKING:
    from bentos.api import Api

log = logging.getLogger(__name__)
REPORT_SECONDS: Final = 1.0
STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


class Lifecycle:
    """One process. `most_requests` at once are answered, a further one is refused."""

    def __init__(self) -> None:
        self.most_requests = 1
        self.metrics: ServiceMetrics = NoMetrics()
        self.draining = False
        self.in_flight = 0
        """Requests being answered; kept by `bentos.front`."""
        self._api: Api | None = None
        self._trouble = "starting"

    def api(self) -> Api:
        """What answers; `ProblemError` 503 until it is there."""
        if self._api is None:
            raise self.not_ready()
        return self._api

    def open(self, api: Api, metrics: ServiceMetrics, most_requests: int) -> None:
        """From now on requests are answered."""
        self.metrics, self.most_requests = metrics, most_requests
        self._api, self._trouble = api, ""

    def refuse(self, reason: str) -> None:
        """Never be ready, for `reason`."""
        self._api, self._trouble = None, reason

    @property
    def ready(self) -> bool:
        """Whether requests may be sent here."""
        return self._api is not None and not self.draining

    def not_ready(self) -> ProblemError:
        """Why requests should not be sent here."""
        return unavailable("not-ready", "draining: the process ends" if self.draining else self._trouble)

    async def report(self) -> None:
        """Tell the metrics how many requests are in flight, once a second; setting a shared value each time costs."""
        while True:
            self.metrics.in_flight(self.in_flight)
            await asyncio.sleep(REPORT_SECONDS)

    def drain_on_signals(self, seconds: float) -> None:
        """On SIGTERM or Ctrl-C: fail the readiness probe, go on for `seconds`, then let the server's handler end it.

        A second signal does not wait. Called in the running loop, after the server has set its handlers.
        """
        loop = asyncio.get_running_loop()
        for number in STOPPING:
            ending = signal.getsignal(number)
            if callable(ending):
                loop.add_signal_handler(number, self._drain, loop, seconds, number, ending)

    def _drain(
        self, loop: asyncio.AbstractEventLoop, seconds: float, number: int, ending: Callable[[int, Any], Any]
    ) -> None:
        wait = 0.0 if self.draining else seconds
        self.draining = True
        log.info("draining: not ready from now on, the server stops accepting in %g s", wait)
        loop.call_later(wait, ending, number, None)
