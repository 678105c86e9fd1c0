"""One side's answer as it stands in a record."""

from __future__ import annotations

import base64

import pytest

from shadow.contracts import Answer
from shadow.router.records import Body, answer_of, as_text
from shadow.router.ways import Exchanged


def kept_of(whole: bytes, most: int, part: int = 1_000) -> Answer:
    """The record's side of a whole answer that came in parts of `part` bytes."""
    body = Body(most)
    for start in range(0, len(whole), part):
        body.add(whole[start : start + part])
    return answer_of("v1", Exchanged(200, "", 5, 7), body, 3)


@pytest.mark.parametrize(
    ("body", "most", "kept", "truncated"),
    [
        (b"abc", 3, "abc", False),
        (b"abcd", 3, "abc", True),
        ("aé".encode(), 2, "a", True),  # the limit is inside of the second character
        ("aé".encode(), 3, "aé", False),
        (b"", 0, "", False),
    ],
)
def test_a_body_is_text_and_is_cut_between_characters(body: bytes, most: int, kept: str, truncated: bool) -> None:
    answer = kept_of(body, most)
    assert (answer.body, answer.body_encoding, answer.truncated) == (kept, "utf-8", truncated)
    assert (answer.status, answer.connect_us, answer.queue_us, answer.upstream_us) == (200, 5, 3, 7)


def test_what_is_not_text_is_base64_and_comes_back_byte_for_byte() -> None:
    body = bytes(range(256))
    answer = kept_of(body, 1_000, part=7)
    assert answer.body_encoding == "base64"
    assert answer.body_bytes() == body
    assert as_text(b"ab\xff", truncated=True) == (base64.b64encode(b"ab\xff").decode(), "base64")


@pytest.mark.parametrize(("error", "told"), [("reset", "reset"), ("cancelled", "timeout")])
def test_no_answer_is_status_0_with_the_reason(error: str, told: str) -> None:
    answer = answer_of("v1", Exchanged(200, error, 0, 9), Body(10))
    assert (answer.status, answer.error, answer.body, answer.upstream_us) == (0, told, "", 9)
