"""An open loop at a constant rate: `python -m tests.bench.router_client --port P --rate R --seconds N`, JSON on stdout.

A request is due when the rate says so, whether or not earlier ones have been answered; its latency counts from then.
It goes over a connection that is free, the one used last first, as clients' pools do; over a new one when none is free
and there are fewer than `CONNECTIONS`; it waits otherwise. What is not answered `DEADLINE_SECONDS` after it was due is
a timeout. An answer counts only with status 200 and with what the primary alone says in its body.

Not asyncio: its clock for timers is one millisecond, and at thousands a second requests would be sent in batches.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.bench.router_numbers import quantiles_ms

CONNECTIONS: Final = 256
DEADLINE_SECONDS: Final = 10.0
LEAD_SECONDS: Final = 0.05
USERS: Final = 100_000
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection:
    """One connection; `due` is when the request that it carries was due."""

    __slots__ = ("buffer", "due", "need", "request", "socket")

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.due = 0.0
        self.request = b""
        self.buffer = b""
        self.need = 0


class OpenLoop:
    """The run. All times in seconds of `time.perf_counter`."""

    def __init__(
        self, port: int, rate: float, seconds: float, expect: bytes, deadline: float = DEADLINE_SECONDS
    ) -> None:
        self.total = int(rate * seconds)
        self.latencies, self.late = array("d"), array("d")
        self.errors: Counter[str] = Counter()
        self.opened = self.number = 0
        self._address, self._rate, self._expect = ("127.0.0.1", port), rate, expect
        self._deadline = deadline
        self._epoll = select.epoll()
        self._waiting: deque[float] = deque()
        self._idle: list[Connection] = []
        self._busy: dict[int, Connection] = {}
        """By file number, in the order in which their requests were due."""
        self._all: dict[int, Connection] = {}

    def run(self) -> None:
        """Until every request is answered or given up."""
        begin = time.perf_counter() + LEAD_SECONDS
        while self.number < self.total or self._waiting or self._busy:
            now = time.perf_counter()
            while self.number < self.total and begin + self.number / self._rate <= now:
                self._waiting.append(begin + self.number / self._rate)
                self.number += 1
            self._expire(now - self._deadline)
            while self._waiting and self._send(now):
                pass
            # select, for epoll's own timeout is a whole number of milliseconds.
            pause = begin + self.number / self._rate - time.perf_counter() if self.number < self.total else 0.05
            if pause > 0:
                select.select([self._epoll], [], [], min(pause, 0.05))
            for number, events in self._epoll.poll(0):
                self._event(number, events)

    def close(self) -> None:
        """Close what is open."""
        for connection in self._all.values():
            connection.socket.close()
        self._epoll.close()

    def document(self) -> dict[str, object]:
        """The counts; latencies in ms from when a request was due, `late_ms` is this client's own share of them."""
        return {
            "sent": self.total,
            "answered": len(self.latencies),
            "errors": dict(self.errors),
            "latency_ms": quantiles_ms(self.latencies),
            "late_ms": quantiles_ms(self.late),
            "connections": self.opened,
        }

    def _expire(self, before: float) -> None:
        while self._waiting and self._waiting[0] < before:
            self._waiting.popleft()
            self.errors["timeout, waiting for a connection"] += 1
        while self._busy:
            number, oldest = next(iter(self._busy.items()))
            if oldest.due >= before:
                return
            self._fail(number, "timeout")

    def _send(self, now: float) -> bool:
        if self._idle:
            connection = self._idle.pop()
        elif len(self._all) < CONNECTIONS:
            connection = self._connect()
        else:
            return False
        due = self._waiting.popleft()
        self.late.append(now - due)
        serial = self.opened * 1_000_000 + len(self.late)
        connection.due, connection.buffer, connection.need = due, b"", 0
        connection.request = (
            b"GET /recommend?user_id=%d&k=10 HTTP/1.1\r\nHost: reco\r\nAccept: */*\r\nUser-Agent: bench\r\n"
            b"X-Request-Id: r%d\r\n\r\n" % (serial * 7919 % USERS, serial)
        )
        number = connection.socket.fileno()
        self._busy[number] = connection
        self._write(number, connection)
        return True

    def _connect(self) -> Connection:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            made.connect(self._address)
        connection = self._all[made.fileno()] = Connection(made)
        self._epoll.register(made, select.EPOLLIN)
        self.opened += 1
        return connection

    def _write(self, number: int, connection: Connection) -> None:
        try:
            connection.socket.send(connection.request)
        except BlockingIOError:  # still connecting
            self._epoll.modify(number, select.EPOLLIN | select.EPOLLOUT)
        except OSError as error:
            self._fail(number, kind_of(error))

    def _event(self, number: int, events: int) -> None:
        connection = self._all.get(number)
        if connection is None:
            return
        if events & select.EPOLLOUT and not events & (select.EPOLLERR | select.EPOLLHUP):
            self._epoll.modify(number, select.EPOLLIN)
            self._write(number, connection)
            return
        try:
            data = connection.socket.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(number, kind_of(error))
            return
        if not data or number not in self._busy:
            self._fail(number, "closed")
        else:
            connection.buffer += data
            self._read(number, connection)

    def _read(self, number: int, connection: Connection) -> None:
        buffer = connection.buffer
        if not connection.need:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(buffer, 0, end)
            if length is None:
                self._fail(number, "an answer without a length")
                return
            connection.need = end + 4 + int(length[1])
        if len(buffer) < connection.need:
            return
        if len(buffer) > connection.need:
            self._fail(number, "more than an answer")
        elif buffer[9:12] != b"200":
            self._fail(number, f"status {buffer[9:12].decode('latin-1')}")
        elif self._expect not in buffer:
            self._fail(number, "not the primary's answer")
        else:
            self.latencies.append(time.perf_counter() - connection.due)
            del self._busy[number]
            self._idle.append(connection)

    def _fail(self, number: int, kind: str) -> None:
        """Close a connection; the request that it carried, if any, got no answer."""
        connection = self._all.pop(number)
        if self._busy.pop(number, None) is not None:
            self.errors[kind] += 1
        else:
            self._idle.remove(connection)
        connection.socket.close()


def kind_of(error: OSError) -> str:
    """`reset`, `refused`, or the error's own name."""
    return {ConnectionResetError: "reset", BrokenPipeError: "reset", ConnectionRefusedError: "refused"}.get(
        type(error), type(error).__name__
    )


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--expect", default="", help="Bytes that every answer must hold.")
    options = parser.parse_args()
    # Timers to the microsecond, not to the 50 that Linux may add.
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    gc.disable()
    loop = OpenLoop(options.port, options.rate, options.seconds, options.expect.encode())
    loop.run()
    json.dump(loop.document(), sys.stdout)


if __name__ == "__main__":
    main()
