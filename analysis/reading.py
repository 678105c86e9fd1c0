"""From pair records to rows: what became of each copy is decided here, once, by the plan's missing rule.

*Answered*: a readable list came. *Failed*: the arm gave an error, a bad status or an unreadable body, timed out, or its
breaker was open; it counts as an empty list at the deadline. *Missing*: dropped by the router, cancelled, truncated, or
the primary itself had no answer to compare with; it is loss, and counted. Next module: `analysis.load`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import numpy as np

from analysis.adapters import Adapter, RankedList, Unreadable
from analysis.items import PAD, Items
from analysis.measures import K
from analysis.rows import EMPTY_LIST, NAMED, NOTHING, Codes, Rows
from shadow.contracts import ARM_ERROR, ARM_TIMEOUT, DROPPED, PAIRED, Answer, PairRecord

ABSENT: Final = 0
MISSING: Final = 1
FAILED: Final = 2
ANSWERED: Final = 3
"""States of one arm at one request; from FAILED on it is judged. ABSENT: the arm was not shown the request."""

FAILURES: Final = (ARM_ERROR, ARM_TIMEOUT, DROPPED + "breaker_open", DROPPED + "expired")
FAILED_SOURCE: Final = "(failed)"
"""Stands for the `source` of an answer that never came."""

_DIGEST_BYTES: Final = 8


def read_rows(records: Iterable[PairRecord], adapter: Adapter, items: Items) -> Rows:
    """The rows of `records`, in their order."""
    reader = _Reader(adapter, items)
    for record in records:
        reader.add(record)
    return reader.rows()


class _Reader:
    """Collects columns. What comes again and again (users, texts, lists, the primary's answer of a request's other
    record) is worked out once."""

    def __init__(self, adapter: Adapter, items: Items) -> None:
        self._adapter = adapter
        self._number = items.number
        self._texts: dict[tuple[str | None, ...], int] = {}
        self._users: dict[str, bytes] = {}
        self._lists: dict[tuple[str, ...], int] = {(): EMPTY_LIST}
        self._known: tuple[Answer | None, RankedList | Unreadable, int] = (
            None,
            Unreadable("primary_error"),
            EMPTY_LIST,
        )
        self._request_id, self._request_hash = "", _hash("")
        self._numbers = array("q")
        self._hashes: list[bytes] = []

    def add(self, record: PairRecord) -> None:
        """One record more."""
        own, other = record.primary, record.arm_answer
        primary, primary_list = self._primary(own)
        state, why, answer = _became(record, primary, self._adapter)
        listed, source, latency = EMPTY_LIST, FAILED_SOURCE, -1
        if answer is not None and other is not None:
            listed = primary_list if answer is primary else self._list(answer.items)
            source, latency = answer.source, other.connect_us + other.upstream_us
        # In the order of NAMED. Few different ones come, so they are numbered as they stand together.
        texts = (
            record.experiment,
            record.incarnation,
            record.arm,
            record.outcome,
            why,
            primary.reason if isinstance(primary, Unreadable) else "",
            None if own is None else own.version,
            None if other is None else other.version,
            primary.source if isinstance(primary, RankedList) else "",
            source,
        )
        self._hashes.append(self._request(record))
        self._numbers.extend(
            (
                record.event_time_us,
                record.arrival_us,
                record.bucket if record.unit else -1,
                record.sequence,
                state,
                latency,
                -1 if own is None else own.connect_us + own.upstream_us,
                primary_list,
                listed,
                self._texts.setdefault(texts, len(self._texts)),
            )
        )

    def _list(self, items: tuple[str, ...]) -> int:
        return self._lists.setdefault(items, len(self._lists))

    def _request(self, record: PairRecord) -> bytes:
        """Both hashes. Clients choose request ids, so one may stand on two requests; user and time tell them apart."""
        request_id, unit = record.request_id, record.unit
        if request_id != self._request_id:
            self._request_id, self._request_hash = request_id, _hash(request_id)
        if not unit:
            # A request without a user is a cluster of its own.
            return self._request_hash + _hash(f"request {request_id}")
        user = self._users.get(unit)
        if user is None:
            user = self._users[unit] = _hash(unit)
        return self._request_hash + user

    def _primary(self, answer: Answer | None) -> tuple[RankedList | Unreadable, int]:
        """What the primary answered, and the number of its list; the request's other record has the same."""
        known, found, listed = self._known
        if known is None or answer is None or not _same_text(answer, known):
            found = _readable(answer, "primary_error", self._adapter)
            listed = self._list(found.items) if isinstance(found, RankedList) else EMPTY_LIST
            self._known = (answer, found, listed)
        return found, listed

    def rows(self) -> Rows:
        """All that was added."""
        numbers = np.frombuffer(self._numbers, dtype=np.int64).reshape(-1, COLUMNS)
        hashes = np.frombuffer(b"".join(self._hashes), dtype="<u8").astype(np.uint64).reshape(-1, 2)
        names, codes = _numbered(self._texts)
        texts = codes[numbers[:, 9]]
        number = self._number
        padded = [[*map(number, items[:K]), *[PAD] * (K - len(items))] for items in self._lists]
        return Rows(
            request=hashes[:, 0].copy(),
            user=hashes[:, 1].copy(),
            event_us=numbers[:, 0].copy(),
            arrival_us=numbers[:, 1].copy(),
            bucket=numbers[:, 2].astype(np.int32),
            sequence=numbers[:, 3].copy(),
            state=numbers[:, 4].astype(np.int8),
            latency_us=numbers[:, 5].copy(),
            primary_latency_us=numbers[:, 6].copy(),
            primary_list=numbers[:, 7].astype(np.int32),
            arm_list=numbers[:, 8].astype(np.int32),
            **{name: texts[:, place].copy() for place, name in enumerate(NAMED)},
            names=names,
            lists=np.array(padded, dtype=np.int32),
            digests=np.frombuffer(b"".join(map(_digest, self._lists)), dtype="<u8").astype(np.uint64),
        )


COLUMNS: Final = 10
"""Numbers of a record."""


def _numbered(texts: Iterable[tuple[str | None, ...]]) -> tuple[tuple[str, ...], Codes]:
    """The names in `texts`, and each of these as numbers of names, None as NOTHING; shape (texts, NAMED)."""
    rows = list(texts)
    names = tuple(dict.fromkeys(each for row in rows for each in row if each is not None))
    place: dict[str | None, int] = {name: number for number, name in enumerate(names)} | {None: NOTHING}
    codes = np.array([[place[each] for each in row] for row in rows], dtype=np.int32)
    return names, codes.reshape(-1, len(NAMED))


def _became(
    record: PairRecord, primary: RankedList | Unreadable, adapter: Adapter
) -> tuple[int, str, RankedList | None]:
    """The arm's state, why it is not answered, and its answer."""
    if isinstance(primary, Unreadable):
        return MISSING, f"primary: {primary.reason}", None
    if record.outcome in FAILURES:
        return FAILED, record.outcome, None
    if record.outcome != PAIRED or record.arm_answer is None:
        return MISSING, record.outcome, None
    # An arm that answers as the primary does, to the letter, need not be read again: most controls do.
    if record.primary is not None and _same_text(record.arm_answer, record.primary):
        return ANSWERED, "", primary
    answer = _readable(record.arm_answer, record.outcome, adapter)
    if isinstance(answer, Unreadable):
        return MISSING if answer.reason == "truncated" else FAILED, answer.reason, None
    return ANSWERED, "", answer


def _readable(answer: Answer | None, none: str, adapter: Adapter) -> RankedList | Unreadable:
    if answer is None or answer.status == 0:
        return Unreadable(none)
    if not 200 <= answer.status < 300:
        return Unreadable(f"status {answer.status}")
    return adapter(answer)


def _same_text(one: Answer, other: Answer) -> bool:
    """Whether both must be read alike: everything is the same that reading looks at."""
    return (
        one.body == other.body
        and one.status == other.status
        and one.body_encoding == other.body_encoding
        and one.truncated == other.truncated
    )


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def _digest(items: tuple[str, ...]) -> bytes:
    """Tells whole lists apart; zero, so the first in any table, for the empty one."""
    return _hash(repr(items)) if items else bytes(_DIGEST_BYTES)
