"""The log of promotions, as it is read: which of its records count, where an alias is by it, and where it came from.

MLflow moves an alias without asking what it pointed at, but it gives out version numbers atomically. So promotions are
records in an append-only log, the versions of a second registered model. A record names the last record of its alias
that its writer had seen (`after`); it counts if and only if that is the last one that counts before it. Every reader
agrees on who won. No I/O here. Next module: `bentos.promotions`, which writes the records and lets the alias follow.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bentos.registered import ModelVersion
from bentos.registry import MODEL

LOG: Final = f"{MODEL}-promotions"
"""The registered model whose versions are the records."""
PROMOTE: Final = "promote"
ROLLBACK: Final = "rollback"


class Record(msgspec.Struct, frozen=True, kw_only=True, rename={"origin": "from"}):
    """One promotion or rollback. `counts` is derived from the log, the rest was written and never changes."""

    number: int
    alias: str
    action: str
    origin: int | None
    """The version that the alias pointed at; None when it was not set."""
    to: int
    by: str
    reason: str
    at_ms: int
    """When the registry took the record, by its clock."""
    after: int
    """The last record of this alias that counted when this was written; 0 for none."""
    nonce: str
    """Tells its writer which record is its own when the answer was lost."""
    counts: bool

    @property
    def told(self) -> str:
        """Who did what and when, in words."""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.at_ms / 1000))
        origin = "" if self.origin is None else f" from version {self.origin}"
        return f"{self.by} moved {self.alias}{origin} to version {self.to} at {at} UTC (record {self.number})"


@dataclass(frozen=True)
class PromotionLog:
    """All records in order. `hole` is the number of a record that somebody deleted, 0 when there is none."""

    records: list[Record]
    hole: int
    versions: list[ModelVersion]
    """What it was read from."""

    @staticmethod
    def of(versions: list[ModelVersion]) -> PromotionLog:
        """The log in the versions of `LOG`, given in the order of their numbers."""
        numbers = {each.number for each in versions}
        hole = next((number for number in range(1, max(numbers, default=0)) if number not in numbers), 0)
        last: dict[str, int] = {}
        records = []
        for version in versions:
            record = _record(version, last)
            if record is None:
                continue
            records.append(record)
            if record.counts:
                last[record.alias] = record.number
        return PromotionLog(records, hole, versions)

    @property
    def aliases(self) -> list[str]:
        """Every alias that was ever moved, in the order of the first time."""
        return list(dict.fromkeys(each.alias for each in self.records))

    def counted(self, alias: str) -> list[Record]:
        """The records of `alias` that count."""
        return [each for each in self.records if each.counts and each.alias == alias]

    def last(self, alias: str) -> Record | None:
        """The record that says where `alias` points; None when it was never moved."""
        counted = self.counted(alias)
        return counted[-1] if counted else None

    def line(self, alias: str) -> list[int]:
        """The versions that `alias` went through, without those that were rolled back; the last is the current one."""
        line: list[int] = []
        for record in self.counted(alias):
            if not line and record.origin is not None:
                line.append(record.origin)
            if record.action == ROLLBACK and len(line) > 1:
                line.pop()
            else:
                line.append(record.to)
        return line


def _record(version: ModelVersion, last: dict[str, int]) -> Record | None:
    """The record in a version of `LOG`, given the last that counts by alias; None when it is none."""
    tags = {each.key: each.value for each in version.tags}
    fields: dict[str, Any] = {key: tags[key] for key in ("alias", "action", "by", "nonce") if key in tags}
    try:
        after, to = int(tags["after"]), int(tags["to"])
        origin = int(tags["from"]) if "from" in tags else None
        return Record(
            number=version.number,
            origin=origin,
            to=to,
            reason=tags.get("reason", ""),
            at_ms=version.created_ms,
            after=after,
            counts=after == last.get(tags["alias"], 0),
            **fields,
        )
    except (KeyError, ValueError, TypeError):
        return None
