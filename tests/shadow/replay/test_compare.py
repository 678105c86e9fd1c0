"""Answers against those of a log: the same bytes or not, and where they differ first."""

from __future__ import annotations

import pytest

from shadow.contracts import Answer
from shadow.replay.compare import EXAMPLES, OTHER_PLACES, PLACES, Comparison, difference
from shadow.replay.logged_answers import LoggedAnswers
from shadow.replay.pair_log import FromLog


@pytest.mark.parametrize(
    ("was", "now", "place"),
    [
        (b'{"a":1}', b'{"a":1}', ""),
        (b'{"a":1}', b'{"a": 1}', "bytes"),
        (b'{"a":1}', b'{"a":1.0}', "$.a"),
        (
            b'{"items":[{"item_id":"1"},{"item_id":"2"}]}',
            b'{"items":[{"item_id":"1"},{"item_id":"3"}]}',
            "$.items[1].item_id",
        ),
        (b'{"items":[1,2]}', b'{"items":[1]}', "$.items.length"),
        (b'{"a":1,"b":2}', b'{"a":1}', "$.b"),
        (b'{"a":1,"b":null}', b'{"a":1}', "bytes"),
        (b'{"a":true}', b'{"a":1}', "$.a"),
        (b"\xff\x00", b"\xff\x01", "bytes"),
        (b'{"a":"\xff"}', b'{"a":"\xfe"}', "bytes"),
        (b"[" * 5_000, b"[" * 5_001, "bytes"),
        (b"", b"x", "bytes"),
    ],
)
def test_the_first_place_that_differs(was: bytes, now: bytes, place: str) -> None:
    assert difference(200, was, 200, now)[0] == place


def test_a_status_that_differs_comes_first() -> None:
    assert difference(200, b"a", 503, b"b") == ("status", "200 was logged, 503 came")


def test_bytes_are_told_from_the_first_that_differs() -> None:
    assert difference(200, b"abcX", 200, b"abcY")[1] == "from byte 3: b'X' was logged, b'Y' came"
    assert difference(200, b"abc", 200, b"abcY")[1] == "from byte 3: b'' was logged, b'Y' came"


def test_same_different_and_not_comparable_add_up_and_examples_are_bounded() -> None:
    whole = Answer(version="v", status=200, body='{"a":1}')
    logged = {f"r{n}": whole for n in range(40)}
    logged |= {
        "cut": Answer(version="v", status=200, body='{"a', truncated=True),
        "failed": Answer(version="v", status=0, error="timeout"),
    }
    answers = LoggedAnswers()
    for number, answer in enumerate(logged.values()):
        answers.keep(number, answer)
    comparison = Comparison(answers, "primary")
    for number, name in enumerate([*logged, "never"]):
        body = b'{"a":1}' if name in {"r0", "r1"} else b'{"a":2}'
        comparison.look(FromLog(1, "u", request_id=name, number=number), 200, body)
    found = comparison.found
    assert found.counts == {"same": 2, "different": 38, "the log has no whole answer": 3}
    assert found.places == {"$.a": 38}
    assert len(found.examples) == EXAMPLES
    assert found.examples[0] == "r2 at $.a: 1 was logged, 2 came"


def test_places_are_bounded_however_many_a_service_finds_to_differ_at() -> None:
    answers = LoggedAnswers()
    for number in range(PLACES + 5):
        answers.keep(number, Answer(version="v", status=200, body=f'{{"{number}":1}}'))
    comparison = Comparison(answers, "primary")
    for number in range(PLACES + 5):
        comparison.look(FromLog(1, "u", number=number), 200, f'{{"{number}":2}}'.encode())
    assert len(comparison.found.places) == PLACES + 1
    assert comparison.found.places[OTHER_PLACES] == 5
