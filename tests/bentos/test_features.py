"""Where things lie in Redis: hashes of vectors, keys of any user id."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bentos.features import USERS_PER_BUCKET, Event, bucket_of, buckets_of, encoded, events_key, seen_key, vectors_key


def test_a_version_has_one_hash_for_32_users_and_at_least_one() -> None:
    assert [buckets_of(users) for users in (0, 1, 32, 33, 1_000_000)] == [1, 1, 1, 2, 31_250]


def test_the_hash_of_a_user_is_the_same_in_every_process_and_release() -> None:
    # CRC-32 of "123456789" is 0xCBF43926 by every table of check values.
    assert bucket_of(b"123456789", 1_000) == 0xCBF43926 % 1_000


def test_no_hash_holds_many_more_users_than_the_others() -> None:
    users, buckets = 20_000, buckets_of(20_000)
    counts = [0] * buckets
    for number in range(users):
        counts[bucket_of(f"u{number:07d}".encode(), buckets)] += 1
    # Redis keeps a hash in one piece up to 128 fields.
    assert max(counts) <= 128
    assert min(counts) > USERS_PER_BUCKET / 4


@given(st.text(min_size=1))
def test_any_text_can_be_a_user_id(user: str) -> None:
    assert seen_key(user).removeprefix(b"seen:") == events_key(user).removeprefix(b"events:") == encoded(user)
    assert encoded(user).decode("utf-8", "surrogatepass") == user


def test_keys_are_those_that_are_documented() -> None:
    assert vectors_key("0123456789ab", 7) == "vec:0123456789ab:7"
    assert seen_key("ü") == b"seen:\xc3\xbc"
    assert events_key("1") == b"events:1"


def test_an_event_is_three_values_in_a_row() -> None:
    assert msgspec.json.encode(Event("i1", 4.5, 7)) == b'["i1",4.5,7]'
    # Redis' Lua writes whole ratings as integers.
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(["i1", 4, 7]), type=Event) == Event("i1", 4.0, 7)
