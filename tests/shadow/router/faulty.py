"""Upstreams that fail as a request asks them to, and clients that keep their own account of what they saw.

The request names the faults in its query (`p=` for the primary, `s=` for the arms), so the client knows what it asked
for, and by what it saw it knows in which place of every arm's account the request must stand.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shadow.router.config import Arm
from shadow.units import BUCKETS, bucket_of, unit_of
from tests.shadow.router.harness import KEY, cut

COPY_BYTES = 4_096
USERS = 500
BUCKET_OF = [bucket_of(unit_of(b"%d" % user, KEY)) for user in range(USERS)]
COPIED = "copied"
"""A client cannot see how a copy ended: paired, arm_error, arm_timeout, or dropped by its queue or its breaker."""
ENDS_OF_COPIES = (
    "paired",
    "arm_error",
    "arm_timeout",
    "dropped:queue_full",
    "dropped:breaker_open",
    "dropped:expired",
    "dropped:shutdown",
)
_HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"
_CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
_ANSWERS = {
    b"ok": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    b"chunked": _CHUNKS,
    b"error": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}",
    b"extra": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!",
    b"early": b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\n{}",
    b"short": _HALF,
    b"stuck": _HALF,
    b"garbage": b"\x00\x01 no HTTP at all\r\n\r\n",
    b"silent": b"",
    b"close": b"",
}
_ENDING = frozenset({b"short", b"garbage", b"close"})


class Faulty(asyncio.Protocol):
    """One connection of an upstream; `mark` is the parameter that names its faults."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0 and not self._transport.is_closing():
            head, rest = self._buffer[:end].lower(), self._buffer[end + 4 :]
            fault = head.partition(self._mark)[2].partition(b" ")[0].partition(b"&")[0] or b"ok"
            length = self._length(head, rest)
            if length is None and fault != b"early":
                return
            self._buffer = rest[length or 0 :]
            self._answer(fault)

    @staticmethod
    def _length(head: bytes, rest: bytes) -> int | None:
        """Bytes of the body within `rest`, None while it is not whole. No body here holds a line of "0"."""
        if b"transfer-encoding: chunked" in head:
            end = 0 if rest.startswith(b"0\r\n\r\n") else rest.find(b"\r\n0\r\n\r\n") + 2
            return end + 5 if end != 1 else None
        length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
        return length if len(rest) >= length else None

    def _answer(self, fault: bytes) -> None:
        if fault == b"reset":
            cut(self._transport)
            return
        self._transport.write(_ANSWERS[fault])
        if fault in _ENDING:
            self._transport.close()


@dataclass(frozen=True)
class Plan:
    """One request: `kind` says what it is, `primary` and `arm` how its upstreams are to fail."""

    kind: str = "plain"
    user: int = 0
    primary: str = "ok"
    arm: str = "ok"
    body: int = 0
    chunked: bool = False

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        if self.kind == "refused":
            return b"GET /recommend HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
        path = {"private": "/metrics", "other": "/model"}.get(self.kind, "/recommend")
        primary = {"leave": "stuck", "early": "early"}.get(self.kind, self.primary)
        target = f"{path}?user_id={self.user}&p={primary}&s={self.arm}"
        extra = "X-Understudy-Hops: 1\r\n" if self.kind == "loop" else ""
        size = COPY_BYTES + 1 if self.kind == "large" else self.body
        if self.kind == "early":
            return f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nonly this".encode()
        if not size:
            return f"GET {target} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode()
        framing, body = f"Content-Length: {size}", b"x" * size
        if self.chunked:
            framing, body = "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        return f"POST {target} HTTP/1.1\r\nHost: a\r\n{extra}{framing}\r\n\r\n".encode() + body


@dataclass
class Account:
    """What the clients saw, as the account that each arm must have: `places` by arm."""

    arms: Iterable[Arm]
    sent: int = 0
    eligible: int = 0
    lost: list[Plan] = field(default_factory=list)
    """Requests whose connection ended without a byte: never, or the client could not know what became of them."""
    places: dict[str, Counter[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = {arm.name: Counter() for arm in self.arms}

    def saw(self, plan: Plan, end: str) -> None:
        """`end` is "answered", "failed" (502, 504 or broken off) or "left"."""
        self.sent += 1
        self.eligible += plan.kind not in ("refused", "private", "other")
        for arm in self.arms:
            self.places[arm.name][self._place(plan, end, arm)] += 1

    def _place(self, plan: Plan, end: str, arm: Arm) -> str:
        if plan.kind in ("refused", "private"):
            return "refused"
        if plan.kind == "other":
            return "not_eligible"
        if arm.sampling == "hash" and BUCKET_OF[plan.user] >= round(arm.fraction * BUCKETS):
            return "not_sampled"
        if end != "answered":
            return {"failed": "primary_error", "left": "client_cancelled"}[end]
        drops = {"loop": "dropped:loop", "large": "dropped:too_large", "early": "dropped:incomplete"}
        return drops.get(plan.kind, COPIED)

    def disagreements(self, arms: dict[str, dict[str, Any]]) -> list[str]:
        """Where the router's `/counters` say otherwise; of an arm with counter sampling only the sums are known."""
        found = [f"{plan} ended without a byte" for plan in self.lost]
        for arm in self.arms:
            told = arms[arm.name]
            expected, counted = self._seen(arm), _counted(arm, told)
            found += [
                f"{arm.name}: the clients saw {expected[place]} × {place}, the router counted {counted[place]}"
                for place in sorted({*expected, *counted})
                if expected[place] != counted[place]
            ]
            if told["received"] != self.sent:
                found.append(f"{arm.name}: the clients sent {self.sent}, the router received {told['received']}")
        return found

    def _seen(self, arm: Arm) -> Counter[str]:
        seen = self.places[arm.name]
        if arm.sampling == "hash":
            return seen
        taken = (self.eligible * round(arm.fraction * BUCKETS) + BUCKETS // 2) // BUCKETS
        sampled = {"not_sampled": self.eligible - taken, "outcomes": taken}
        return Counter({place: seen[place] for place in ("refused", "not_eligible")} | sampled)


def _counted(arm: Arm, told: dict[str, Any]) -> Counter[str]:
    """The router's counts in the clients' words."""
    counted = Counter({place: told[place] for place in ("refused", "not_eligible", "not_sampled")})
    outcomes = Counter(told["outcomes"])
    if arm.sampling == "counter":
        counted["outcomes"] = sum(outcomes.values())
        return counted
    counted[COPIED] = sum(outcomes.pop(end, 0) for end in ENDS_OF_COPIES)
    return counted + outcomes


class Crowd:
    """`connections` clients at `port` that work off `plans`, one request at a time each."""

    def __init__(self, port: int, plans: Iterator[Plan], account: Account, connections: int) -> None:
        self._port = port
        self._plans = plans
        self._count = connections
        self.account = account
        self.tick: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Until every plan is worked off."""
        self._left = self._count
        for _ in range(self._count):
            self.connect()
        await self._ended.wait()

    def connect(self) -> None:
        """One client more, if there is something to ask."""
        plan = next(self._plans, None)
        if plan is None:
            self._left -= 1
            if not self._left:
                self._ended.set()
            return
        task = self._loop.create_task(self._loop.create_connection(lambda: Asking(self, plan), "127.0.0.1", self._port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def next(self) -> Plan | None:
        """The next request of a client that goes on."""
        return next(self._plans, None)


class Asking(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, crowd: Crowd, plan: Plan | None) -> None:
        self._crowd = crowd
        self._plan = plan
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        assert self._plan is not None
        self._transport.write(self._plan.raw)

    def data_received(self, data: bytes) -> None:
        plan = self._plan
        if plan is None:
            return
        self._buffer += data
        if plan.kind == "leave" and not self._buffer.startswith(b"HTTP/1.1 50"):
            self._end("left")
            cut(self._transport)
            return
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if found and whole(head, body):
            failed = head.startswith((b"HTTP/1.1 502", b"HTTP/1.1 504"))
            self._end("failed" if failed else "answered")
            if b"\r\nconnection: close" not in head:
                self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        if self._plan is not None:
            if not self._buffer:
                self._crowd.account.lost.append(self._plan)
            self._end("failed")
        self._crowd.connect()

    def _end(self, end: str) -> None:
        plan, self._plan, self._buffer = self._plan, None, b""
        assert plan is not None
        self._crowd.account.saw(plan, end)
        self._crowd.tick()

    def _go_on(self) -> None:
        self._plan = self._crowd.next()
        if self._plan is None:
            self._transport.close()
        else:
            self._transport.write(self._plan.raw)


def whole(head: bytes, body: bytes) -> bool:
    """Whether an answer is whole."""
    if b"\r\ntransfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r")[0] or 0)


KINDS = ("plain", "refused", "private", "other", "loop", "large", "early", "leave")
PRIMARY_FAULTS = ("ok", "chunked", "error", "extra", "reset", "close", "short", "garbage")
ARM_FAULTS = (*PRIMARY_FAULTS, "stuck", "silent")


def mixed(count: int, seed: int, silent_every: int = 500) -> Iterator[Plan]:
    """`count` requests: four of five plain and whole, the others with every fault.

    Of the arms' faults one in `silent_every` is a timeout, and now and then they all fail for a while.
    """
    rng = random.Random(seed)
    for number in range(count):
        plain = rng.random() < 0.8
        arm = "ok" if rng.random() < 0.9 else rng.choice(PRIMARY_FAULTS)
        if number % silent_every == 0:
            arm = rng.choice(("silent", "stuck"))
        if number % 5_000 < 200:
            arm = "reset"
        yield Plan(
            kind="plain" if plain else rng.choice(KINDS),
            user=rng.randrange(USERS),
            primary="ok" if plain else rng.choice(PRIMARY_FAULTS),
            arm=arm,
            body=0 if rng.random() < 0.9 else rng.randrange(1, COPY_BYTES + 1),
            chunked=rng.random() < 0.5,
        )
