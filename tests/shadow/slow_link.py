"""A TCP link of so many bytes a second to a server on this machine, for tests of deadlines. It may also stall."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

PIECE_BYTES = 16 << 10


class SlowLink:
    """What the server says comes through slowly; `stalls` answers of it end in silence, after their first bytes."""

    def __init__(self, port: int, bytes_per_second: int) -> None:
        self._target, self._pause = port, PIECE_BYTES / bytes_per_second
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._end = threading.Event()
        self.stalls = 0
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._end.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._target))
                for source, sink, slow in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pass_on, args=(source, sink, slow), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, slow: bool) -> None:
        with suppress(OSError), closing(source), closing(sink):
            while data := source.recv(PIECE_BYTES):
                if slow and len(data) > 2_000 and self.stalls:
                    self.stalls -= 1
                    self._end.wait()
                if slow:
                    self._end.wait(self._pause * len(data) / PIECE_BYTES)
                sink.sendall(data)


@contextmanager
def slow_link(port: int, bytes_per_second: int) -> Iterator[SlowLink]:
    link = SlowLink(port, bytes_per_second)
    try:
        yield link
    finally:
        link.close()
