"""What pods may use, derived from the bounds that the resource sets: nothing here is a guess of a user's.

The router's bounds are per arm and reserved for `router.maxArms` arms, so the primary's pod does not change when an arm
comes or goes. Measured on Linux x86-64: an idle router has 33 MiB, a connection costs it 4 KiB, an idle shipper 36 MiB;
the constants leave room for the kernel's buffers and for fragments. Next module: `shadow.controller.children`.
"""

from __future__ import annotations

from typing import Final

from shadow.controller.parts import PairLog, Router
from shadow.controller.wire import Size, size, size_of

MIB: Final = 1 << 20
ROUTER_BASE: Final = 96 * MIB
CONNECTION: Final = 32 << 10
"""Of the router, per client's connection: both sides of it, with the kernel's buffers."""
PIPE: Final = 16 * MIB
"""Of the router: records that wait for the shipper."""
MARGIN: Final = 1.2
"""Memory per byte of a bound (DESIGN §9): Python's objects around the bytes."""
SHIPPER_BASE: Final = 160 * MIB
"""Parts of an upload under way included."""
FLUSH_SECONDS: Final = 5
"""What the router's last records may take after its drain."""
BENTO_DRAIN_SECONDS: Final = 1
"""From "not ready" to "no longer accepting" of a bento (UNDERSTUDY_DRAIN_SECONDS)."""
SPARE_SECONDS: Final = 10
"""For processes to start and end."""
TEMPORARY: Final = 512 * MIB
"""The bento's volume for files: BentoML's home and the metrics of its workers."""
STATE: Final = 16 * MIB
"""The router's last good configuration; the shipper's socket."""
LOGS: Final = 128 * MIB
"""Of each container: its log on the node, before it is rotated, and its writable layer."""


def router_memory(router: Router) -> Size:
    """The router's memory limit: base, connections, the pipe, and queue and answers of every arm there is room for."""
    arm = size_of(router.queue_size) + router.concurrency * size_of(router.answer_size)
    return size(int(ROUTER_BASE + router.connections * CONNECTION + MARGIN * (PIPE + router.max_arms * arm)))


def shipper_memory(log: PairLog) -> Size:
    """The shipper's memory limit: base, and a segment that is being closed."""
    return size(SHIPPER_BASE + size_of(log.segment_size))


def spool_limit(log: PairLog) -> Size:
    """sizeLimit of the spool's volume: above the shipper's own bound, or the kubelet would evict the primary's pod."""
    return size(int(size_of(log.spool_size) * 1.1) + 64 * MIB)


def router_seconds(router: Router) -> int:
    """How long the router's drain can take at most."""
    return router.deregister_seconds + router.drain_seconds + FLUSH_SECONDS


def bento_sleep(router: Router) -> int:
    """How long the primary's bento waits in its preStop: longer than the router's drain, which starts with it."""
    return router_seconds(router) + 2


def grace_seconds(router: Router, log: PairLog) -> int:
    """terminationGracePeriodSeconds of the primary's pod: the bento's end, then the sidecars', last the shipper's."""
    return bento_sleep(router) + BENTO_DRAIN_SECONDS + router_seconds(router) + log.drain_seconds + SPARE_SECONDS


ARM_GRACE_SECONDS: Final = 30
"""Of shadow and control: nobody waits for them."""
ARM_SLEEP_SECONDS: Final = 5
"""Their preStop: until routers' new connections go elsewhere."""
