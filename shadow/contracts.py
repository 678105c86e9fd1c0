"""The pair record and its companions: what the router writes and every reader may rely on (DESIGN §4).

One `PairRecord` is written per request *and arm*. It is one line of JSON. A change of any field's meaning
raises `SCHEMA_VERSION` and needs a decision record. The files that hold records are in `shadow.segments`.
"""

from __future__ import annotations

import base64
from typing import Annotated, Final

import msgspec

SCHEMA_VERSION: Final = 3
READABLE_VERSIONS: Final = (1, 2, 3)
"""What readers take: versions 2 and 3 only added (docs/decisions/0012, 0013)."""

PRIMARY: Final = "primary"
"""The name of the version that answers users, where arms are named; no arm may have it."""

PAIRED: Final = "paired"
ARM_ERROR: Final = "arm_error"
ARM_TIMEOUT: Final = "arm_timeout"
CLIENT_CANCELLED: Final = "client_cancelled"
PRIMARY_ERROR: Final = "primary_error"
EXPOSED: Final = "exposed"
"""A split gave the request to this arm, and the user got its answer; told by an `Exposure`, not by a pair."""
EXPOSED_ERROR: Final = "exposed_error"
"""A split gave the request to this arm, but the user got another answer or none; told by an `Exposure` too."""
DROPPED: Final = "dropped:"
"""Prefix of the outcomes of a copy that was never sent; the reason follows, see `DROP_REASONS`."""

DROP_REASONS: Final = (
    "queue_full",
    "too_large",
    "breaker_open",
    "shutdown",
    "loop",
    "incomplete",
    "expired",
    "split",
    "log_full",
)
"""`expired`: it waited too long for a slot. `incomplete`: the primary answered before the whole request had come, so
there was nothing to copy. `split`: an arm answered the user instead of the primary: there is nothing to pair with.
`log_full` (since version 3): the shipper's spool was full and its policy is to stop mirroring; such records are
counted, and not written either."""

OUTCOMES: Final = (
    PAIRED,
    ARM_ERROR,
    ARM_TIMEOUT,
    CLIENT_CANCELLED,
    PRIMARY_ERROR,
    EXPOSED,
    EXPOSED_ERROR,
    *(DROPPED + reason for reason in DROP_REASONS),
)


Whole = Annotated[int, msgspec.Meta(ge=-(1 << 62), lt=1 << 62)]
"""A number of a record. Readers hold it, and the sum of two, in 64 bits; a line with another is no record."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One side's answer to one request.

    `status` 0 means that no complete answer came; `error` then says why in one token (`refused`, `reset`,
    `timeout`, `short`, `garbage`, `too_large`). Times are whole microseconds on the router's monotonic clock:
    `connect_us` (0 on a pooled connection), `queue_us` (waiting for a slot of the arm), `upstream_us`
    (first byte sent to last byte received). `body` is text; bytes that are not UTF-8 are base64 with
    `body_encoding` = "base64". `truncated` says that only a prefix of the body was kept.
    """

    version: str
    status: Whole
    connect_us: Whole = 0
    queue_us: Whole = 0
    upstream_us: Whole = 0
    body: str = ""
    body_encoding: str = "utf-8"
    truncated: bool = False
    error: str = ""

    def body_bytes(self) -> bytes:
        """The body as it came over the wire (decoded from base64 where it was not text)."""
        return base64.b64decode(self.body) if self.body_encoding == "base64" else self.body.encode()


class PairRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="pair"):
    """One request's answers from the primary and from one other arm.

    `sequence` counts the records of one router `incarnation` from 0 without gaps: a missing number is a lost
    record. `arrival_us` is wall-clock microseconds since the epoch at the router; `event_time_us` is the logical
    time of the request (from the event-time header in a replay, else the arrival). `unit` is the keyed hash of
    the user id (hex) or "" where the request named no user; the raw id stands in no field: in `target` it is
    replaced by the unit. `bucket` is the sampling bucket in [0, 1000000). `arm_answer` is None unless the copy was
    sent. `request_bytes` is the length of the request's body, copied or not (since version 2).
    """

    schema_version: int = SCHEMA_VERSION
    request_id: str
    experiment: str
    incarnation: str
    sequence: Whole
    arrival_us: Whole
    event_time_us: Whole
    method: str
    target: str
    unit: str
    bucket: Whole
    arm: str
    outcome: str
    primary: Answer | None
    arm_answer: Answer | None = None
    request_bytes: Whole = 0


class Exposure(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="exposure"):
    """Which arm one user's request was assigned to in a split, and which answered (since version 2).

    `assigned` is "primary" or the split's arm, by `bucket`, method and hops; `served` is the arm whose whole answer the
    user got, "" when none came, and `version` and `status` are that answer's ("" and 0 then). `error` says why the
    assigned arm did not answer, in one token (those of `Answer.error`, `status_5xx`, `breaker_open`, `busy`,
    `too_large`, `client_cancelled`). The rest is as in `PairRecord`, whose sequence it shares.
    """

    schema_version: int = SCHEMA_VERSION
    request_id: str
    experiment: str
    incarnation: str
    sequence: Whole
    arrival_us: Whole
    event_time_us: Whole
    unit: str
    bucket: Whole
    assigned: str
    served: str
    version: str
    status: Whole
    error: str = ""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="hello"):
    """The first frame a router sends to its shipper on every connection: who is writing.

    `undecided_us` is the longest time from a request's arrival to its record by the deadlines of the configuration, the
    longest that the incarnation ever had: when it grows, hello is said again (0: a router that does not tell). `key_id`
    tells one unit key from another and nothing else of it (`shadow.units.key_id_of`; "": not told).
    """

    schema_version: int = SCHEMA_VERSION
    experiment: str
    incarnation: str
    router: str
    started_us: int
    undecided_us: int = 0
    key_id: str = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="heartbeat"):
    """What a router says every second to a shipper that listens for it (`HEARS`), behind all that it wrote before.

    At `sent_us` of its wall clock it had numbered so many records and dropped so many of them, and every record of a
    request that arrived before `decided_us` was among those numbered (docs/decisions/0019).
    """

    schema_version: int = SCHEMA_VERSION
    incarnation: str
    sent_us: int
    decided_us: int
    numbered: int
    dropped: int


class Goodbye(msgspec.Struct, frozen=True, kw_only=True, tag_field="record", tag="goodbye"):
    """The last frame of a router that shut down in order: how many records it numbered and had to drop."""

    schema_version: int = SCHEMA_VERSION
    incarnation: str
    records: int
    dropped: int


class SegmentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One closed segment in a manifest. `sha256` is over the compressed file, `records` counts its lines.

    `erased` counts the lines that were taken out of it on request (`understudy pairs erase`): they are not lost. First
    and last of sequence and times are those of the segment as it was written. `last_arrival_us` is −1 when a writer of
    before version 3 made it (docs/decisions/0014). `header_times` counts lines whose event time is not their arrival,
    so came in the request's header (−1: a writer that did not tell, docs/decisions/0016).
    """

    name: str
    records: int
    erased: int = 0
    last_arrival_us: int = -1
    header_times: int = -1
    bytes: int
    sha256: str
    first_sequence: int
    last_sequence: int
    first_event_us: int
    last_event_us: int


OLDEST: Final = "oldest"
"""The spool was full, and a closed segment was given up for newer records."""
SPOOL_FULL: Final = "full"
"""The spool was full, and the newest records were not taken."""
DISK: Final = "disk"
"""The spool's disk refused to write, or lost what it had."""
SPOOL_DROP_REASONS: Final = (OLDEST, SPOOL_FULL, DISK)


class SpoolDrop(msgspec.Struct, frozen=True, kw_only=True):
    """Records that the shipper got and gave up for one `reason`, counted over the life of one incarnation's log.

    `records` and `bytes` (compressed, or 0 where nothing was compressed yet) are exact; all lie between
    `first_sequence` and `last_sequence`, though not every number there need be one of them (since version 3).
    """

    reason: str
    records: int
    bytes: int
    first_sequence: int
    last_sequence: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that one router incarnation has logged. `complete` is set by the router's `Goodbye`.

    `records` is how many sequence numbers the router gave out (known only when complete, else -1) and `dropped`
    how many of those it dropped before the shipper (full pipe). Before it is complete the router's last heartbeat of
    which all has come tells it: by `told_us` it had given out `numbered` numbers (−1: it told nothing), of which it had
    dropped `dropped`; the rest is in `segments`, among the `drops`, or lost; and what arrived before `decided_us` is
    among them (docs/decisions/0019). `drops` is what the shipper gave up, one entry for each
    reason: a reader counts what it finds against all three. `segments` is what was uploaded before this manifest was.
    `written_us` is the shipper's wall clock when it wrote the manifest; while the router is connected it is renewed
    with every segment, or as often as segments would be closed by age, `segment_us` (0: written before version 3).
    No record is decided later than `undecided_us` after its request arrived, by the router's deadlines (0, both: the
    writer did not tell; docs/decisions/0016). `key_id` is of the key that made the units ("": not told;
    docs/decisions/0020).
    """

    schema_version: int = SCHEMA_VERSION
    experiment: str
    incarnation: str
    router: str
    started_us: int
    complete: bool = False
    records: int = -1
    dropped: int = 0
    drops: tuple[SpoolDrop, ...] = ()
    written_us: int = 0
    segment_us: int = 0
    undecided_us: int = 0
    numbered: int = -1
    told_us: int = 0
    decided_us: int = 0
    key_id: str = ""
    segments: tuple[SegmentEntry, ...] = ()


Frame = Hello | Heartbeat | Goodbye | PairRecord | Exposure
"""What may come over the pipe from router to shipper: a 4-byte big-endian length, then one of these as JSON."""

STOP: Final = b"S"
GO: Final = b"G"
"""What the shipper may say over the same pipe, one byte each: mirror no more (its spool is full), and mirror again.
A new connection begins with go. Only the last byte counts."""
CONFIRMED: Final = b"C"
"""With eight bytes behind it, big-endian: of so many records of this connection the shipper knows the fate, they are in
its spool or among its drops. It is said after hello (none) and after every flush, always with stop or go behind it: a
router that knows only those two looks at the last byte."""
HEARS: Final = b"H"
"""Said once after hello, before all else: this shipper takes heartbeats. To others none are sent, for a shipper of
before takes them for nonsense; a router of before looks past it, to the stop or go behind."""
