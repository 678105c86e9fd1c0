"""What a router and its configuration server say to each other (docs/control.md); the operator implements the server.

`GET {url}/config?router=…&incarnation=…&generation=G&wait=S&suspended=…` is answered 200 with an `Offer` as soon as the
generation for this router is not G, or 204 after S seconds in which it was. `POST {url}/ack` takes an
`Acknowledgement`, answered 204. Both with `Authorization: Bearer …` where the router has a token.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

CONFIG_PATH: Final = "/config"
ACK_PATH: Final = "/ack"
NO_GENERATION: Final = 0
"""What a router asks with that has none of this server yet: it is answered at once, if there is one."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration that a router should have.

    A `generation` is never used for two configurations of one router name. The router copies for `lease_seconds` from
    this answer on; every later 200 or 204 renews that, unless it was a configuration that the router had to refuse.
    `config` is a whole `shadow.router.config.RouterConfig`.
    """

    generation: Annotated[int, Meta(ge=1)]
    lease_seconds: Annotated[float, Meta(gt=0, le=86_400)]
    config: msgspec.Raw


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an offer: in force, or refused with the field and the remedy in `error`."""

    router: str
    incarnation: str
    generation: int
    accepted: bool
    error: str = ""
    suspended: tuple[str, ...] = ()
    """Why nothing is copied all the same: `aborted` by hand, `lease_expired`."""
