"""How long after its arrival a request's last record may come, by the deadlines of a configuration.

A reader needs it for the watermark: what is not uploaded yet arrived no earlier than so long before what is. Next
module: `shadow.router.pairlog`, which tells the shipper.
"""

from __future__ import annotations

from shadow.router.config import RouterConfig
from shadow.router.patience import REQUEST_SECONDS, SWEEP_SECONDS


def undecided_us(config: RouterConfig) -> int:
    """Microseconds: the request comes, in a split an arm is asked first, the primary answers, a copy waits for its slot
    and for its answer.

    Not within it, for neither has a deadline: a body that comes steadily for longer than `REQUEST_SECONDS`, and an
    answer that a client reads so slowly that the primary has to wait.
    """
    copies = max((arm.queue_seconds + arm.deadline_ms / 1e3 for arm in config.arms), default=0.0)
    asked = {arm.name: arm.deadline_ms / 1e3 for arm in config.arms}
    first = asked[config.split.arm] if config.split is not None else 0.0
    seconds = REQUEST_SECONDS + SWEEP_SECONDS + first + config.primary.deadline_ms / 1e3 + copies
    return round(seconds * 1e6)
