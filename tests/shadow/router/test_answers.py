"""Answers of an upstream: whole is whole however it is cut, and what is ambiguous is garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.router.answers import MOST_HEADERS, AnswerReader
from tests.shadow.router.harness import in_pieces


@given(st.lists(st.integers(1, 30), max_size=20), st.booleans())
def test_answers_are_the_same_however_the_stream_is_cut(cuts: list[int], chunked: bool) -> None:
    framed = (
        b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        if chunked
        else b"content-length: 5\r\n\r\nabcde"
    )
    reader = AnswerReader()
    in_pieces(b"HTTP/1.1 200 OK\r\n" + framed, cuts, reader.feed)
    assert (reader.done, reader.error, reader.status, reader.take()) == (True, "", 200, b"abcde")
    assert reader.keep_alive


def test_an_answer_framed_by_the_close_is_whole_and_a_short_one_is_not() -> None:
    framed, cut = AnswerReader(), AnswerReader()
    framed.feed(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nall of it")
    assert not framed.done
    framed.end()
    assert (framed.done, framed.take()) == (True, b"all of it")
    cut.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    cut.end()
    assert (cut.done, cut.error) == (False, "short")


def test_an_interim_answer_is_not_the_answer() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
    assert not reader.begun
    assert reader.interim == [(103, [(b"link", b"x")])]
    reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert (reader.done, reader.status, reader.take()) == (True, 200, b"ok")


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 2\r\ntransfer-encoding: chunked",
        b"content-length: 2\r\ncontent-length: 3",
        b"content-length: +2",
        b"content-length: 2, 2",
        b"transfer-encoding: gzip, chunked",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        b"transfer-encoding: identity",
        b"x: a\x00b",
        b"x: 1\r\n folded",
    ],
)
def test_an_answer_that_can_be_read_in_two_ways_is_garbage(head: bytes) -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nok")
    assert reader.error == "garbage"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content_is_whole_with_its_head(status: int) -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 %d X\r\nx: y\r\n\r\n" % status)
    assert (reader.done, reader.error, reader.length, reader.keep_alive) == (True, "", 0, True)


@pytest.mark.parametrize(
    ("head", "kept"), [(b"content-length: 9", True), (b"x: y", True), (b"connection: close", False)]
)
def test_an_answer_to_head_is_whole_with_its_head_whatever_that_says(head: bytes, kept: bool) -> None:
    reader = AnswerReader()
    reader.expect(head_only=True)
    reader.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
    assert (reader.done, reader.error, reader.take(), reader.keep_alive) == (True, "", b"", kept)
    reader.expect(head_only=False)
    reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert (reader.done, reader.take()) == (True, b"ok")


@pytest.mark.parametrize("late", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"junk"])
def test_bytes_after_an_answer_are_not_its_own_and_end_the_reuse(late: bytes) -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + late)
    assert (reader.done, reader.error, reader.take(), reader.keep_alive) == (True, "", b"ok", False)


def test_an_upgrade_that_nobody_asked_for_and_interim_answers_without_end_are_garbage() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
    assert reader.error == "garbage"
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 101 Switching Protocols\r\n\r\nwhat follows is no HTTP")
    assert (reader.error, reader.interim) == ("garbage", [])
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17)
    assert reader.error == "garbage"


@pytest.mark.parametrize("parts", [b"1\r\nx\r\n" * 101, b"0\r\n" + b"a: b\r\n" * 102])
def test_an_answer_in_more_parts_than_allowed_is_garbage_at_once(parts: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    limited, free = AnswerReader(most_parts=100), AnswerReader()
    for reader in (limited, free):
        reader.feed(head + parts)
    assert (limited.error, limited.done, len(limited.take()) <= 100) == ("garbage", False, True)
    assert free.error == ""
    limited = AnswerReader(most_parts=100)
    for _ in range(3):  # of each answer, not of all
        limited.expect(False)
        limited.feed(head + b"1\r\nx\r\n" * 99 + b"0\r\n\r\n")
        assert (limited.done, limited.error, limited.take()) == (True, "", b"x" * 99)


def test_an_answer_with_more_headers_than_anyone_needs_is_garbage() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MOST_HEADERS + 1) + b"\r\n")
    assert (reader.error, len(reader.headers)) == ("garbage", MOST_HEADERS)
