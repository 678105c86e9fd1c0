"""The router's side of a configuration server: asked all the time, told what became of its offers, never waited for.

While it is away everything stays as it is (fail static), until the lease of the configuration runs out: then copying
stops and the primary goes on. Spoken over the router's own HTTP client, so a slow server costs nobody anything.
Next module: `shadow.router.first_config`, how a router begins this way.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from shadow.control_contract import ACK_PATH, CONFIG_PATH, NO_GENERATION, Acknowledgement, Offer
from shadow.router.answers import AnswerReader
from shadow.router.config import ConfigError
from shadow.router.control import ABORTED, Control
from shadow.router.last_good import Keeper, LastGood
from shadow.router.pool import Pool
from shadow.router.upstream import Leg
from shadow.router.ways import Exchanged

WAIT_SECONDS: Final = 30.0
"""How long the server may keep a question that has no new answer; a third of the lease, if that is shorter."""
SLACK_SECONDS: Final = 5.0
"""For an answer beyond that; then the question is given up."""
PACE_SECONDS: Final = 0.2
"""Between two questions at least, whatever the server says."""
BACKOFF_SECONDS: Final = (0.2, 5.0)
"""After a failure, doubling from the one to the other, half as much more or less by chance."""
FAREWELL_SECONDS: Final = 1.0
ANSWER_BYTES: Final = 2 << 20


class ServerError(Exception):
    """The server did not answer as it should; `kind` is one token."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Question:
    """One request to the server, and what came back."""

    def __init__(self, pool: Pool, method: bytes, data: bytes) -> None:
        self.done: asyncio.Future[Exchanged] = pool.loop.create_future()
        self.body = b""
        self._leg = Leg(pool, self, method, data, True)

    def interim(self, answer: AnswerReader) -> None:
        """Not waited for."""

    def received(self, answer: AnswerReader, data: bytes, done: bool) -> None:  # noqa: ARG002 - the protocol's
        """More of the answer."""
        self.body += data
        if len(self.body) > ANSWER_BYTES:
            self._leg.give_up("too_large")

    def ended(self, end: Exchanged) -> None:
        """It is over."""
        if not self.done.done():
            self.done.set_result(end)

    def pause_sending(self) -> None:
        """A question is short."""

    def resume_sending(self) -> None:
        """See `pause_sending`."""

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._leg.cancel()


@dataclass
class Caller:
    """Asks the server at `url` for the router `name`."""

    url: str
    name: str
    incarnation: str
    token: bytes = b""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname or parts.query:
            raise ValueError(f"--config-server: {self.url!r} is not http://host:port/path")
        self._host, self._base = parts.netloc, parts.path.rstrip("/")
        self._pool = Pool(parts.hostname, parts.port or 80, 1, WAIT_SECONDS + 2 * SLACK_SECONDS)

    async def offer(
        self, generation: int, wait: float, suspended: frozenset[str], report: str = "", slack: float = SLACK_SECONDS
    ) -> Offer | None:
        """The configuration that is not `generation`, None after `wait` seconds without one; `ServerError`.

        `report` goes along; the answer may take `slack` seconds beyond `wait`.
        """
        question = {"router": self.name, "incarnation": self.incarnation, "generation": generation}
        question |= {"wait": f"{wait:.3f}", "suspended": ",".join(sorted(suspended))}
        query = urlencode(question | ({"report": report} if report else {}))
        status, body = await self._ask(b"GET", f"{CONFIG_PATH}?{query}", b"", wait + slack)
        if status == 204:
            return None
        if status != 200:
            raise ServerError("status", f"{self.url}{CONFIG_PATH} answered {status}")
        try:
            return msgspec.json.decode(body, type=Offer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ServerError("garbage", f"{self.url}{CONFIG_PATH}: {error}") from error

    async def acknowledge(self, generation: int, error: str, suspended: frozenset[str]) -> None:
        """Tell what became of an offer; `ServerError`."""
        told = Acknowledgement(
            router=self.name,
            incarnation=self.incarnation,
            generation=generation,
            accepted=not error,
            error=error,
            suspended=tuple(sorted(suspended)),
        )
        status, _ = await self._ask(b"POST", ACK_PATH, msgspec.json.encode(told), SLACK_SECONDS)
        if not 200 <= status < 300:
            raise ServerError("status", f"{self.url}{ACK_PATH} answered {status}")

    def close(self) -> None:
        """Ask no more."""
        self._pool.close()

    async def _ask(self, method: bytes, path: str, body: bytes, seconds: float) -> tuple[int, bytes]:
        lines = [f"host: {self._host}"]
        lines += [f"content-length: {len(body)}", "content-type: application/json"] if body else []
        lines += [f"authorization: Bearer {self.token.decode()}"] if self.token else []
        try:
            return await asked(self._pool, method, self._base + path, lines, body, seconds)
        except ServerError as error:
            raise ServerError(error.kind, f"{self.url}{path.partition('?')[0]}: {error}") from None


async def asked(
    pool: Pool, method: bytes, target: str, lines: Iterable[str], body: bytes, seconds: float
) -> tuple[int, bytes]:
    """Status and body of the answer to one request with these header lines; `ServerError` `unreachable`."""
    head = "\r\n".join((f"{method.decode()} {target} HTTP/1.1", *lines))
    question = Question(pool, method, f"{head}\r\n\r\n".encode() + body)
    try:
        async with asyncio.timeout(seconds):
            end = await question.done
    except TimeoutError:
        raise ServerError("unreachable", f"no answer in {seconds:.0f} s") from None
    finally:
        question.cancel()
    if end.error:
        raise ServerError("unreachable", end.error)
    return end.status, question.body


class Poller:
    """Asks for the configuration as long as the router runs."""

    def __init__(
        self,
        caller: Caller,
        keeper: Keeper,
        control: Control,
        seen: int,
        lease_seconds: float,
        report: Callable[[], str] = lambda: "",
    ) -> None:
        self._caller = caller
        self._report = report
        """What is told with every question: a `Report` as JSON."""
        self._keeper = keeper
        self._control = control
        self._seen = seen
        """The last generation offered, in force or refused: the server need not offer it again."""
        self._lease = lease_seconds
        self._owed: tuple[int, str] | None = (seen, "") if seen else None
        """The acknowledgement that the server has not got yet: generation, error."""
        self._failures = 0
        control.kept = self._keep
        control.settled = keeper.settled
        if seen != NO_GENERATION:
            self._keep()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            asked_at = time.monotonic()
            try:
                await self._once()
                self._failures = 0
                pause = PACE_SECONDS - (time.monotonic() - asked_at)
            except ServerError as error:
                self._control.trouble(error.kind, str(error))
                pause = backoff(self._failures)
                self._failures += 1
            await asyncio.sleep(max(0.0, pause))

    async def farewell(self) -> None:
        """Tell the last counts, at the end of the router; a server that does not hear them has those before."""
        with suppress(ServerError):
            await self._caller.offer(self._seen, 0.0, self._control.suspended, self._report(), FAREWELL_SECONDS)

    async def _once(self) -> None:
        if self._owed is not None:
            # A server that takes no acknowledgement can still change the configuration.
            try:
                await self._caller.acknowledge(*self._owed, self._control.suspended)
                self._owed = None
            except ServerError as error:
                self._control.trouble(error.kind, str(error))
        wait = min(WAIT_SECONDS, self._lease / 3)
        offer = await self._caller.offer(self._seen, wait, self._control.suspended, self._report())
        if offer is not None:
            self._take(offer)
        elif self._seen == self._control.generation and self._seen != NO_GENERATION:
            self._renew()

    def _take(self, offer: Offer) -> None:
        self._seen = offer.generation
        try:
            self._control.offer(bytes(offer.config), "server", self._caller.url, offer.generation)
        except ConfigError as error:
            self._owed = (offer.generation, str(error))
            return
        self._lease = offer.lease_seconds
        self._owed = (offer.generation, "")
        self._renew()

    def _renew(self) -> None:
        self._control.renew(self._lease)
        if self._owed is None or not self._owed[1]:
            self._control.well()
        self._keep()

    def _keep(self) -> None:
        control = self._control
        self._keeper.save(
            LastGood(
                generation=control.generation,
                lease_seconds=self._lease,
                expires_us=time.time_ns() // 1000 + int((control.lease_seconds_left or 0.0) * 1e6),
                aborted=ABORTED in control.suspended,
                config=msgspec.Raw(msgspec.json.encode(control.config)),
            )
        )


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row before the last one."""
    first, most = BACKOFF_SECONDS
    return min(most, first * (1 << min(failures, 16))) * random.uniform(0.5, 1.5)
