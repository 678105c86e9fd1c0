"""Query strings are read as clients write them, or refused by name; nothing is guessed."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bentos.messages import RecommendQuery
from bentos.problems import ProblemError
from bentos.requests import header, recommend_query, request_id, user_query

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=256)


@given(TEXT, st.integers(1, 100))
def test_what_a_client_encodes_is_read_back(user: str, k: int) -> None:
    assume(not any(ord(character) < 32 or ord(character) == 127 for character in user))
    query = urlencode({"user_id": user, "k": k}).encode()
    assert recommend_query(query) == RecommendQuery(user, k)
    assert user_query(query).user_id == user


def outcome(query: bytes) -> RecommendQuery | ProblemError:
    try:
        return recommend_query(query)
    except ProblemError as error:
        return error


@given(st.binary(max_size=60))
def test_any_bytes_are_a_query_or_a_problem(raw: bytes) -> None:
    for query in (raw, b"user_id=" + raw, b"user_id=a&k=" + raw):
        found = outcome(query)
        if isinstance(found, ProblemError):
            assert found.status == 422
            assert found.problem.parameter in ("user_id", "k", "query")
        else:
            assert 1 <= len(found.user_id) <= 256
            assert 1 <= found.k <= 100


def test_a_replacement_character_of_the_client_s_own_is_a_character() -> None:
    assert recommend_query(b"user_id=%EF%BF%BD").user_id == "\ufffd"


def test_what_is_not_asked_for_is_ignored() -> None:
    assert recommend_query(b"user_id=a&debug=1&debug=2&k=007") == RecommendQuery("a", 7)


@pytest.mark.parametrize("given_id", [b"", b"a b", b"a\xff", b"x" * 129])
def test_a_header_that_is_no_request_id_makes_a_new_one(given_id: bytes) -> None:
    made = request_id([(b"x-request-id", given_id)])
    assert len(made) == 32
    assert made != request_id([])
    assert request_id([(b"x-request-id", b"r:1")]) == "r:1"
    assert header([(b"a", b"1"), (b"a", b"2")], b"a") == b"1"


@pytest.mark.parametrize("user", ["a\0b", "two\nlines", "\x7f", "ends in a line\n"])
def test_control_characters_are_refused_in_plain_words(user: str) -> None:
    found = outcome(urlencode({"user_id": user}).encode())
    assert isinstance(found, ProblemError)
    assert found.problem.detail == "user_id: Expected text without control characters"
