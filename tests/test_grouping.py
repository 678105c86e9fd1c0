"""Tests that share a costly fixture run on one worker."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("grouping")
@pytest.mark.parametrize("number", range(2))
def test_the_scheduler_is_told_the_group(request: pytest.FixtureRequest, number: int) -> None:
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith(f"[{number}]@grouping")
