"""From exchanges to a pair record: what the records of one request share, and one side's answer.

A request's draft is made once, a record once per arm, when its outcome is known. Next module: `shadow.router.pairlog`,
which numbers and sends them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from shadow.contracts import Answer, Exposure, PairRecord
from shadow.router.masking import Mask
from shadow.router.undecided import Span
from shadow.router.ways import Exchanged


@dataclass(slots=True)
class Draft:
    """What the records of one request have in common, whatever the arm and the outcome."""

    request_id: str
    experiment: str
    incarnation: str
    arrival_us: int
    event_time_us: int
    method: str
    target: str
    """With the unit in the place of the user id."""
    request_bytes: int
    unit: str
    bucket: int
    primary: Answer | None
    mask: Mask | None = None
    """What the answers of arms are masked with; None when the request named no user."""
    span: Span | None = None
    """Where the records of this request are owed."""

    def record(self, sequence: int, arm: str, outcome: str, answer: Answer | None) -> PairRecord:
        """The record of one arm."""
        return PairRecord(
            request_id=self.request_id,
            experiment=self.experiment,
            incarnation=self.incarnation,
            sequence=sequence,
            arrival_us=self.arrival_us,
            event_time_us=self.event_time_us,
            method=self.method,
            target=self.target,
            request_bytes=self.request_bytes,
            unit=self.unit,
            bucket=self.bucket,
            arm=arm,
            outcome=outcome,
            primary=self.primary,
            arm_answer=answer,
        )

    def exposure(self, sequence: int, shown: Shown) -> Exposure:
        """The record of what a split showed."""
        return Exposure(
            request_id=self.request_id,
            experiment=self.experiment,
            incarnation=self.incarnation,
            sequence=sequence,
            arrival_us=self.arrival_us,
            event_time_us=self.event_time_us,
            unit=self.unit,
            bucket=self.bucket,
            assigned=shown.assigned,
            served=shown.served,
            version=shown.version,
            status=shown.status,
            error=shown.error,
        )


@dataclass(slots=True)
class Shown:
    """What a split showed one user; the words are those of `shadow.contracts.Exposure`."""

    assigned: str
    served: str
    version: str
    status: int
    error: str


class Body:
    """A body as far as a record keeps it: its first `most` bytes, and how long it was in the end."""

    __slots__ = ("_most", "_parts", "opaque", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self.opaque = False
        """Compressed: an id in it cannot be seen, so it is not kept."""
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        """More of it."""
        room = self._most - self.size
        if data and room > 0:
            self._parts.append(data if len(data) <= room else data[:room])
        self.size += len(data)

    @property
    def truncated(self) -> bool:
        """Whether it was longer than what is kept."""
        return self.size > self._most

    @property
    def kept(self) -> bytes:
        """What is kept."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


def answer_of(version: str, end: Exchanged, body: Body, queue_us: int = 0, mask: Mask | None = None) -> Answer:
    """One side of a record from the end of an exchange.

    An exchange that the router itself cut off ("cancelled", at shutdown) is a timeout: its time was over. Of an answer
    that did not become whole nothing is kept, nor of a compressed one; in the rest `mask` has replaced the user's id.
    """
    if end.error:
        error = "timeout" if end.error == "cancelled" else end.error
        text, encoding, truncated, status = "", "utf-8", False, 0
    else:
        error, status, truncated = "", end.status, body.truncated
        kept: bytes | None = body.kept
        if mask is not None:
            kept = mask.body(body.kept, truncated)
        if kept is None or body.opaque:
            text, encoding, truncated = "", "utf-8", truncated or body.size > 0
        else:
            text, encoding = as_text(kept, truncated)
    return Answer(
        version=version,
        status=status,
        connect_us=end.connect_us,
        queue_us=queue_us,
        upstream_us=end.upstream_us,
        body=text,
        body_encoding=encoding,
        truncated=truncated,
        error=error,
    )


def as_text(body: bytes, truncated: bool = False) -> tuple[str, str]:
    """(text, encoding) of a body: UTF-8 as it is, anything else as base64.

    A truncated body may end in the middle of a character; that piece is left out, so text stays text.
    """
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError as error:
        if truncated and error.reason == "unexpected end of data":
            return body[: error.start].decode(), "utf-8"
        return base64.b64encode(body).decode(), "base64"
