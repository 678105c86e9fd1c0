"""What the router asks of its process: as many open files as it may have, and a collector that keeps out of the way.

Next module: `shadow.router.server`, which asks it before it listens.
"""

from __future__ import annotations

import gc
import logging
import resource
from typing import Final

logger = logging.getLogger(__name__)

GARBAGE: Final = 250_000
"""New containers before the collector looks for cycles. It looks at all of them, and those of a full queue (25,000
copies, eight each) took it 100 ms in which nobody was answered; exchanges and connections leave no cycles behind."""


def allow_files(connections: int) -> None:
    """Raise this process's limit of open files as far as it may: every connection is one, on either side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        allowed = hard
    except (ValueError, OSError) as error:  # macOS says unlimited and means less
        logger.warning("the limit of open files stays at %d (%s)", soft, error)
    logger.info("at most %d open files (%d before)", allowed, soft)
    if 0 <= allowed < connections:
        logger.warning("connections is %d, but only %d files may be open: raise `ulimit -n`", connections, allowed)


def spare_collector() -> None:
    """What was made so far stays: the collector need not look at it again, nor stop the loop for it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
