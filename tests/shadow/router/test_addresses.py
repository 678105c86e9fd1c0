"""Addresses as the configuration spells them."""

from __future__ import annotations

from shadow.router.addresses import address, upstream


def test_addresses_may_be_ipv6_and_the_port_of_an_upstream_defaults_to_80() -> None:
    assert address("listen", "[::1]:8700") == ("::1", 8700)
    assert upstream("url", "http://bento") == ("bento", 80)
