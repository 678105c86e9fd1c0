"""Requests from a pair log: what a router saw, asked again.

A log knows no users, only units. Who asks must bring the users' ids and the key that made the units: each id is hashed
as the router does it, and the units that come out are replaced. Requests of other users are left out, and counted.
Next module: `shadow.replay.rhythm`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from msgspec import structs

from shadow.contracts import PRIMARY, Answer, PairRecord
from shadow.replay.requests import Recorded, ReplayError, told
from shadow.router.sampling import unit_of
from shadow.segments import PairLogError, read_pairs

USERLESS: Final = "names no user"
UNKNOWN: Final = "a user who is not in the list of users"
CHANGING: Final = "not a GET"


class Logged(NamedTuple):
    """What a pair log gives to replay: requests ascending in event time; by request id the answer that the log has;
    and what was left out, how often."""

    requests: list[Recorded]
    answers: dict[str, Answer]
    left_out: Counter[str]


def read_pair_log(location: str, experiment: str | None, users: Iterable[str], key: bytes, side: str) -> Logged:
    """The GETs in the log at `location`, each once, whatever its arms; their answers of `side`: "primary" or an arm.

    Answers are kept in memory, for `shadow.replay.compare`. `ReplayError` when there is nothing to replay.
    """
    names = {unit_of(user.encode(), key): user for user in users}
    found: dict[str, Recorded] = {}
    answers: dict[str, Answer] = {}
    left_out: Counter[str] = Counter()
    for record in _pairs(location, experiment):
        if record.request_id not in found:
            each = _request(record, names)
            if isinstance(each, str):
                left_out[each] += 1
                continue
            found[record.request_id] = each
        answer = record.primary if side == PRIMARY else record.arm_answer if record.arm == side else None
        if answer is not None:
            answers[record.request_id] = _with_user(answer, record.unit, names)
    if not found:
        raise ReplayError(f"{location}: nothing to replay ({told(left_out, 'it holds no pair')})")
    return Logged(sorted(found.values(), key=lambda each: each.event_time_us), answers, left_out)


def _with_user(answer: Answer, unit: str, names: dict[str, str]) -> Answer:
    """The answer with the id where the service had said it again: the answers to come will say the id."""
    if unit not in names or unit not in answer.body:
        return answer
    return structs.replace(answer, body=answer.body.replace(unit, names[unit]))


def _pairs(location: str, experiment: str | None) -> Iterator[PairRecord]:
    try:
        yield from read_pairs(location, experiment)
    except PairLogError as error:
        raise ReplayError(str(error)) from error


def _request(record: PairRecord, names: dict[str, str]) -> Recorded | str:
    """The request of one record with its user's id in place, or why there is none."""
    if record.method != "GET":
        return CHANGING
    if not record.unit:
        return USERLESS
    user = names.get(record.unit)
    if user is None:
        return UNKNOWN
    target = record.target.replace(record.unit, quote_from_bytes(user.encode(), safe=""))
    return Recorded(record.event_time_us, target=target, request_id=record.request_id)
