"""Requests from a pair log: what a router saw, asked again.

A log knows no users, only units. Who asks must bring the users' ids and the key that made the units: each id is hashed
as the router does it, and the units that come out are replaced. Requests of other users are left out, and counted.
Next module: `shadow.replay.rhythm`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

import msgspec
from msgspec import structs

from shadow.contracts import PRIMARY, Answer, PairRecord
from shadow.replay.logged_answers import LoggedAnswers
from shadow.replay.requests import Recorded, ReplayError, told
from shadow.segments import PairLogError, read_pairs
from shadow.units import unit_of

USERLESS: Final = "names no user"
UNKNOWN: Final = "a user who is not in the list of users"
CHANGING: Final = "not a GET"
LEFT_OUT: Final = -1


class FromLog(Recorded, frozen=True, omit_defaults=True):
    """A request of a pair log; `number` counts them as the log has them, and is that of its answer."""

    number: int = -1


class Logged(NamedTuple):
    """What a pair log gives to replay: requests ascending in event time, the answers that the log has, by the requests'
    numbers, and what was left out, how often."""

    requests: list[FromLog]
    answers: LoggedAnswers
    left_out: Counter[str]


def read_pair_log(location: str, experiment: str | None, users: Iterable[str], key: bytes, side: str | None) -> Logged:
    """The GETs in the log at `location`, each once, whatever its arms; and their answers of `side`: "primary" or an
    arm; None: no answers.

    Requests are kept in memory, answers on disk. `ReplayError` when there is nothing to replay, or no room.
    """
    names = {unit_of(user.encode(), key): user for user in users}
    found: list[FromLog] = []
    numbers: dict[bytes, int] = {}
    answers = LoggedAnswers()
    left_out: Counter[str] = Counter()
    for record in _pairs(location, experiment):
        if (number := numbers.get(asked := _identity(record))) is None:
            each = _request(record, names, len(found))
            if isinstance(each, str):
                left_out[each] += 1
                numbers[asked] = LEFT_OUT
                continue
            found.append(each)
            number = numbers[asked] = each.number
        answer = record.primary if side == PRIMARY else record.arm_answer if record.arm == side else None
        if number != LEFT_OUT and answer is not None and number not in answers:
            answers.keep(number, _with_user(answer, record.unit, names))
    if not found:
        raise ReplayError(f"{location}: nothing to replay ({told(left_out, 'it holds no pair')})")
    answers.seal()
    return Logged(sorted(found, key=lambda each: each.event_time_us), answers, left_out)


def _identity(record: PairRecord) -> bytes:
    """What the records of one request share and no other request has: its id may be the client's, so it is not enough.

    Two that one router got within one microsecond, alike in every byte, are one.
    """
    mark = (record.experiment, record.incarnation, record.request_id, record.arrival_us, record.method, record.target)
    return blake2b(msgspec.json.encode(mark), digest_size=16).digest()


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


def _request(record: PairRecord, names: dict[str, str], number: int) -> FromLog | str:
    """The request of one record with its user's id in place, or why there is none."""
    if record.method != "GET":
        return CHANGING
    if not record.unit:
        return USERLESS
    user = names.get(record.unit)
    if user is None:
        return UNKNOWN
    target = record.target.replace(record.unit, quote_from_bytes(user.encode(), safe=""))
    # An id that can stand in a request id needs no quoting, in neither place.
    own = record.request_id.replace(record.unit, quote_from_bytes(user.encode(), safe=":"))
    return FromLog(record.event_time_us, target=target, request_id=own, number=number)
