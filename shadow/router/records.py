"""From exchanges to a pair record: what the records of one request share, and one side's answer.

A request's draft is made once, a record once per arm, when its outcome is known. Next module: `shadow.router.pairlog`,
which numbers and sends them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from shadow.contracts import Answer, PairRecord
from shadow.router.upstream import Exchanged


@dataclass(slots=True)
class Draft:
    """What the records of one request have in common, whatever the arm and the outcome."""

    request_id: str
    experiment: str
    incarnation: str
    arrival_us: int
    event_time_us: int
    target: str
    """With the unit in the place of the user id."""
    unit: str
    bucket: int
    primary: Answer | None

    def record(self, sequence: int, arm: str, outcome: str, answer: Answer | None) -> PairRecord:
        """The record of one arm."""
        return PairRecord(
            request_id=self.request_id,
            experiment=self.experiment,
            incarnation=self.incarnation,
            sequence=sequence,
            arrival_us=self.arrival_us,
            event_time_us=self.event_time_us,
            method="GET",
            target=self.target,
            unit=self.unit,
            bucket=self.bucket,
            arm=arm,
            outcome=outcome,
            primary=self.primary,
            arm_answer=answer,
        )


def answer_of(version: str, end: Exchanged, queue_us: int, most_bytes: int) -> Answer:
    """One side of a record from the end of an exchange; at most `most_bytes` of its body are kept.

    An exchange that the router itself cut off ("cancelled", at shutdown) is a timeout: its time was over.
    """
    reader = end.answer
    if reader is None:
        error = "timeout" if end.error == "cancelled" else end.error
        return Answer(
            version=version,
            status=0,
            connect_us=end.connect_us,
            queue_us=queue_us,
            upstream_us=end.upstream_us,
            error=error,
        )
    whole = reader.body
    truncated = len(whole) > most_bytes
    text, encoding = as_text(whole[:most_bytes] if truncated else whole, truncated)
    return Answer(
        version=version,
        status=reader.status,
        connect_us=end.connect_us,
        queue_us=queue_us,
        upstream_us=end.upstream_us,
        body=text,
        body_encoding=encoding,
        truncated=truncated,
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
