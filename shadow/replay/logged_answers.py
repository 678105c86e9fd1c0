"""The answers that a pair log has, for a comparison: in a file without a name, for a log is larger than memory.

Eight bytes of memory for each request; the bodies wait on the disk (`TMPDIR`) until the same request has been answered
again. Next module: `shadow.replay.pair_log`, which fills it.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

import msgspec

from shadow.contracts import Answer
from shadow.replay.requests import ReplayError

_NONE: Final = -1
_LENGTH_BYTES: Final = 4


class LoggedAnswers:
    """At most one answer for each request, by the request's number."""

    def __init__(self) -> None:
        self.count = 0
        """How many requests have an answer."""
        self._starts = array("q")
        self._file: IO[bytes] | None = None
        self._decoder = msgspec.json.Decoder(Answer)

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._starts) and self._starts[number] != _NONE

    def keep(self, number: int, answer: Answer) -> None:
        """Keep the answer to the request `number`, before any is asked for. `ReplayError` when the disk refuses it."""
        data = msgspec.json.encode(answer)
        self._starts.extend([_NONE] * (number + 1 - len(self._starts)))
        with _told():
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="understudy-answers-")  # noqa: SIM115 - closed with this object
                weakref.finalize(self, self._file.close)
            self._starts[number] = self._file.tell()
            self._file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
        self.count += 1

    def seal(self) -> None:
        """All are there. `ReplayError` when the disk does not take the last of them."""
        with _told():
            if self._file is not None:
                self._file.flush()

    def of(self, number: int) -> Answer | None:
        """The answer to the request `number`; None when there is none."""
        if number not in self or self._file is None:
            return None
        self._file.seek(self._starts[number])
        length = int.from_bytes(self._file.read(_LENGTH_BYTES), "big")
        return self._decoder.decode(self._file.read(length))


@contextmanager
def _told() -> Iterator[None]:
    """What the disk says, with the remedy."""
    try:
        yield
    except OSError as error:
        raise ReplayError(
            f"the log's answers cannot be kept for the comparison ({error.strerror or error}); "
            "name a directory with room for them in TMPDIR"
        ) from error
