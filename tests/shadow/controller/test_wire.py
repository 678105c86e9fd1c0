"""Quantities, durations, and parts as they stand in manifests."""

from __future__ import annotations

import msgspec
import pytest

from shadow.controller.parts import IpBlock, Way
from shadow.controller.wire import Part, plain, seconds_of, size_of


@pytest.mark.parametrize(("text", "count"), [("1Ki", 1 << 10), ("64Mi", 64 << 20), ("3Gi", 3 << 30)])
def test_sizes_are_binary(text: str, count: int) -> None:
    assert size_of(text) == count


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("24h", 86_400), ("1h30m", 5_400), ("1h1m1s", 3_661)])
def test_durations_are_summed(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


def test_a_part_becomes_json_in_camel_case_without_its_defaults() -> None:
    assert plain(IpBlock(cidr="10.0.0.0/8", except_=("10.1.0.0/16",))) == {
        "cidr": "10.0.0.0/8",
        "except": ["10.1.0.0/16"],
    }
    assert plain(Way(port=443)) == {"port": 443}


def test_a_part_refuses_what_it_does_not_know_by_its_name() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `prot`"):
        msgspec.convert({"port": 1, "prot": "TCP"}, Way)


def test_parts_cannot_be_changed() -> None:
    part: Part = Way(port=1)
    with pytest.raises(AttributeError):
        part.port = 2  # type: ignore[attr-defined]
