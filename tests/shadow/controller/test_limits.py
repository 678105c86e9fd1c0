"""Limits follow from the bounds that the resource sets."""

from __future__ import annotations

from typing import Any

import pytest

from shadow.controller.children.primary import primary
from shadow.controller.limits import (
    FLUSH_SECONDS,
    ROUTER_BASE,
    bento_sleep,
    grace_seconds,
    router_memory,
    router_seconds,
    shipper_memory,
    spool_limit,
)
from shadow.controller.parts import PairLog, Router
from shadow.controller.wire import size, size_of
from tests.shadow.controller.resources import ON_TRIAL, PLATFORM, resource

LOG = PairLog(destination="s3://b/p")
ROUTER = Router(existing_secret="s")


def test_the_router_has_room_for_its_base_and_every_bound() -> None:
    arms = 4 * (32 + 16 * 0.25)
    assert size_of(router_memory(ROUTER)) >= ROUTER_BASE + (1.2 * (16 + arms) + 2_000 / 32) * (1 << 20)


@pytest.mark.parametrize(
    "more",
    [{"queue_size": "64Mi"}, {"answer_size": "4Mi"}, {"max_arms": 5}, {"connections": 9_000}, {"concurrency": 99}],
)
def test_a_greater_bound_is_more_memory(more: dict[str, Any]) -> None:
    assert size_of(router_memory(Router(existing_secret="s", **more))) > size_of(router_memory(ROUTER))


@pytest.mark.parametrize("spool", ["128Mi", "2Gi", "500Gi"])
def test_the_volume_of_the_spool_is_larger_than_the_spools_own_bound(spool: str) -> None:
    log = PairLog(destination="s3://b/p", spool_size=spool)
    assert size_of(spool_limit(log)) >= 1.1 * size_of(spool) + (64 << 20)


def test_a_larger_segment_is_more_memory_of_the_shipper() -> None:
    assert size_of(shipper_memory(PairLog(destination="s3://b/p", segment_size="1Gi"))) > size_of(shipper_memory(LOG))


def test_the_bento_outlasts_the_routers_drain_and_the_pod_all_of_it() -> None:
    assert router_seconds(ROUTER) == 5 + 10 + FLUSH_SECONDS
    assert bento_sleep(ROUTER) > router_seconds(ROUTER)
    assert grace_seconds(ROUTER, LOG) > bento_sleep(ROUTER) + router_seconds(ROUTER) + LOG.drain_seconds


def test_the_pods_storage_holds_all_its_volumes() -> None:
    spec = primary(resource(), ON_TRIAL, PLATFORM)["spec"]["template"]["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]
    volumes = [size_of(each["emptyDir"]["sizeLimit"]) for each in spec["volumes"] if "emptyDir" in each]
    limits = [size_of(each["resources"]["limits"]["ephemeral-storage"]) for each in containers]
    assert sum(limits) > sum(volumes)


@pytest.mark.parametrize(("count", "text"), [(0, "1Mi"), (1, "1Mi"), (1 << 20, "1Mi"), ((1 << 20) + 1, "2Mi")])
def test_sizes_are_rounded_up(count: int, text: str) -> None:
    assert size(count) == text
