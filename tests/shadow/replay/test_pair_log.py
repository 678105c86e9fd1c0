"""Requests from a pair log: each once, with its user's id in place, and the answers of the side that is asked for."""

from __future__ import annotations

import tempfile
import tracemalloc
from pathlib import Path

import pytest
from msgspec import structs

from shadow.contracts import Answer, PairRecord
from shadow.replay.pair_log import CHANGING, UNKNOWN, USERLESS, FromLog, Logged, read_pair_log
from shadow.replay.requests import ReplayError
from shadow.units import unit_of
from tests.shadow import written

KEY = b"k" * 32


def pair(number: int, user: str, arm: str = "shadow", event_us: int = 5, method: str = "GET") -> PairRecord:
    unit = unit_of(user.encode(), KEY) if user else ""
    return written.pair(
        number * 2 + (arm != "shadow"),
        request_id=f"r{number}",
        arrival_us=number,
        event_time_us=event_us,
        method=method,
        target=f"/recommend?user_id={unit}&k=10",
        unit=unit,
        arm=arm,
        primary=Answer(version="p", status=200, body=f"p{number}"),
        arm_answer=Answer(version="a", status=200, body=f"{arm}{number}"),
    )


def log_of(root: Path, records: list[PairRecord]) -> str:
    written.incarnation(root, records)
    return str(root)


def answers_of(found: Logged) -> dict[str, str]:
    """The logged answers' bodies by request id."""
    kept = {each.request_id: found.answers.of(each.number) for each in found.requests}
    return {name: answer.body for name, answer in kept.items() if answer is not None}


def test_a_request_of_two_arms_is_one_in_event_time_with_its_users_id(tmp_path: Path) -> None:
    records = [pair(0, "a&b", event_us=9), pair(0, "a&b", "control", 9), pair(1, "c", event_us=3)]
    found = read_pair_log(log_of(tmp_path, records), None, ["c", "a&b", "nobody"], KEY, "control")
    assert found.requests == [
        FromLog(3, target="/recommend?user_id=c&k=10", request_id="r1", number=1),
        FromLog(9, target="/recommend?user_id=a%26b&k=10", request_id="r0", number=0),
    ]
    assert answers_of(found) == {"r0": "control0"}
    primary = read_pair_log(str(tmp_path), "test", ["c", "a&b"], KEY, "primary")
    assert answers_of(primary) == {"r0": "p0", "r1": "p1"}


def test_requests_to_which_clients_gave_the_same_id_are_told_apart(tmp_path: Path) -> None:
    """Another time, another target, another router: one id is what a client makes of it."""
    same = {"request_id": "mine"}
    first = structs.replace(pair(0, "a"), **same)
    later = structs.replace(pair(1, "a"), arrival_us=first.arrival_us + 1, **same)
    longer = structs.replace(pair(2, "a"), arrival_us=first.arrival_us, target=f"{first.target}&x=1", **same)
    elsewhere = structs.replace(pair(0, "a"), incarnation="two", arrival_us=first.arrival_us, **same)
    log_of(tmp_path, [first, later, longer])
    found = read_pair_log(log_of(tmp_path, [elsewhere]), None, ["a"], KEY, "primary")
    told = [found.answers.of(each.number) for each in found.requests]
    assert [answer.body for answer in told if answer is not None] == ["p0", "p1", "p2", "p0"]
    assert {each.request_id for each in found.requests} == {"mine"}


def test_an_id_in_a_request_id_is_put_back_too(tmp_path: Path) -> None:
    unit = unit_of(b"ann", KEY)
    found = read_pair_log(
        log_of(tmp_path, [structs.replace(pair(0, "ann"), request_id=f"{unit}:1")]), None, ["ann"], KEY, None
    )
    assert found.requests[0].request_id == "ann:1"


def test_answers_are_kept_on_disk_whatever_their_number(tmp_path: Path) -> None:
    body = "x" * 200_000
    long = Answer(version="p", status=200, body=body)
    log = log_of(tmp_path, [structs.replace(pair(n, "a"), primary=long, arm_answer=None) for n in range(150)])
    tracemalloc.start()
    found = read_pair_log(log, None, ["a"], KEY, "primary")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 15_000_000
    assert [answer.body == body for answer in (found.answers.of(each.number) for each in found.requests) if answer] == [
        True
    ] * 150


def test_a_disk_that_takes_no_more_answers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path, [pair(0, "a")])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ReplayError, match="TMPDIR"):
        read_pair_log(log, None, ["a"], KEY, "primary")
    assert read_pair_log(log, None, ["a"], KEY, None).requests


def test_what_cannot_be_asked_again_is_counted(tmp_path: Path) -> None:
    records = [pair(0, "a"), pair(1, ""), pair(2, "b"), pair(2, "b", "control"), pair(3, "a", method="POST")]
    found = read_pair_log(log_of(tmp_path, records), None, ["a"], KEY, "primary")
    assert [each.request_id for each in found.requests] == ["r0"]
    assert found.left_out == {USERLESS: 1, UNKNOWN: 1, CHANGING: 1}


def test_with_another_key_nobody_is_known(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=f"1 × {UNKNOWN}"):
        read_pair_log(log_of(tmp_path, [pair(0, "a")]), None, ["a"], b"another key, 20 byte", "primary")


def test_no_log_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="no pair log there"):
        read_pair_log(str(tmp_path), None, ["a"], KEY, "primary")


def test_an_id_that_the_service_said_again_stands_in_the_answer_to_compare_with(tmp_path: Path) -> None:
    body = f'{{"user_id":"{unit_of(b"ann", KEY)}"}}'
    told = structs.replace(pair(0, "ann"), primary=Answer(version="p", status=200, body=body))
    found = read_pair_log(log_of(tmp_path, [told, pair(1, "bob")]), None, ["ann", "bob"], KEY, "primary")
    assert answers_of(found) == {"r0": '{"user_id":"ann"}', "r1": "p1"}
