"""Sampling: keyed, nested, the same for every spelling of an id; and what a record may show of a target."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.router.sampling import CounterSampler, HashSampler, user_of
from shadow.router.settings import RouterSettings
from shadow.units import BUCKETS, bucket_of, unit_of
from tests.shadow.router.harness import KEY


@given(st.binary(min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_raising_the_fraction_keeps_those_who_were_in(user: bytes, one: float, other: float) -> None:
    bucket = bucket_of(unit_of(user, KEY))
    low, high = sorted((one, other))
    assert 0 <= bucket < BUCKETS
    assert HashSampler(high).takes(bucket) or not HashSampler(low).takes(bucket)
    assert HashSampler(1.0).takes(bucket)
    assert not HashSampler(0.0).takes(bucket)


def test_a_millionth_is_one_bucket() -> None:
    assert HashSampler(1e-6).takes(0)
    assert not HashSampler(1e-6).takes(1)


@pytest.mark.parametrize("percent", [20, 50, 35])
@given(start=st.integers(0, 3_000))
def test_a_counter_passes_the_percentage_test_of_the_gateway_api_from_wherever_it_begins(
    percent: int, start: int
) -> None:
    """500 requests, within 5 % of the share: sigs.k8s.io/gateway-api conformance, HTTPRouteRequestPercentageMirror."""
    sampler = CounterSampler(percent / 100)
    for _ in range(start):
        sampler.takes(0)
    taken = sum(sampler.takes(0) for _ in range(500))
    assert abs(taken - 5 * percent) <= 0.05 * 5 * percent


@given(fraction=st.integers(0, BUCKETS), requests=st.integers(1, 2_000))
def test_a_counter_is_never_off_by_more_than_half_a_request(fraction: int, requests: int) -> None:
    sampler = CounterSampler(fraction / BUCKETS)
    taken = sum(sampler.takes(0) for _ in range(requests))
    assert 2 * abs(taken * BUCKETS - requests * fraction) <= BUCKETS


@pytest.mark.parametrize("fraction", [0.005, 0.2, 0.5])
def test_the_realised_share_is_within_four_standard_deviations(fraction: float) -> None:
    users = 20_000
    taken = sum(HashSampler(fraction).takes(bucket_of(unit_of(b"%d" % user, KEY))) for user in range(users))
    assert abs(taken - users * fraction) < 4 * (users * fraction * (1 - fraction)) ** 0.5


@pytest.mark.parametrize(
    ("query", "user"),
    [
        (b"user_id=17&k=3", b"17"),
        (b"k=3&user_id=a%40b", b"a@b"),
        (b"user%5Fid=17", b"17"),
        (b"user_id=a+b", b"a b"),
        (b"user_id=1&user_id=2", b"2"),
        (b"user_id=&k=3", None),
        (b"user_id", None),
        (b"", None),
    ],
)
def test_the_user_is_found_in_any_spelling_and_the_last_one_counts(query: bytes, user: bytes | None) -> None:
    assert user_of(query, b"user_id") == user


def test_a_secret_longer_than_the_hash_takes_is_hashed_whole() -> None:
    one = RouterSettings.load({"UNDERSTUDY_UNIT_KEY": "x" * 64 + "1"}).unit_key
    other = RouterSettings.load({"UNDERSTUDY_UNIT_KEY": "x" * 64 + "2"}).unit_key
    assert one != other
    assert len(unit_of(b"17", one)) == 32


@pytest.mark.parametrize("environment", [{}, {"UNDERSTUDY_UNIT_KEY": "short"}])
def test_without_a_long_secret_there_are_no_settings_and_the_remedy_is_said(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"UNDERSTUDY_UNIT_KEY must hold .* at least 16 bytes.*Make one: export"):
        RouterSettings.load(environment)


def test_the_secret_is_not_shown_by_repr() -> None:
    assert "secret" not in repr(RouterSettings.load({"UNDERSTUDY_UNIT_KEY": "secret" * 6}))
