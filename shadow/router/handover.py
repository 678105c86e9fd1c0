"""What one connection to the shipper was given, and what the shipper said of it.

Next module: `shadow.router.pairlog`, whose records these are.
"""

from __future__ import annotations

from typing import Final

from shadow.contracts import CONFIRMED, HEARS

CONFIRMED_BYTES: Final = len(CONFIRMED) + 8
"""The word and its number."""


class Handover:
    """One connection's account, in records."""

    def __init__(self) -> None:
        self.handed = 0
        """Written to it."""
        self.confirmed = 0
        """Of these, the ones whose fate the shipper knows."""
        self.confirms = False
        """Whether it says so at all; a shipper of an earlier release does not."""
        self.hears = False
        """Whether it takes heartbeats."""
        self._said = b""

    @property
    def open(self) -> int:
        """Records that nobody vouches for: should the connection break now, they may be in the log or not."""
        return self.handed - self.confirmed

    def hear(self, data: bytes) -> bytes:
        """Take what the shipper said; the last of its words stop and go, b"" when there was none."""
        said, word = self._said + data, b""
        while said and not (said.startswith(CONFIRMED) and len(said) < CONFIRMED_BYTES):
            if said.startswith(CONFIRMED):
                # Never more than there was, nor less than before: a count that cannot be claims nothing.
                count = int.from_bytes(said[len(CONFIRMED) : CONFIRMED_BYTES], "big")
                self.confirmed = max(self.confirmed, min(count, self.handed))
                self.confirms = True
                said = said[CONFIRMED_BYTES:]
            elif said.startswith(HEARS):
                self.hears = True
                said = said[len(HEARS) :]
            else:
                word, said = said[:1], said[1:]
        self._said = said
        return word
