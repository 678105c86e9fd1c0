"""What a router and its configuration server say to each other (docs/control.md); the operator implements the server.

`GET {url}/config?router=…&incarnation=…&generation=G&wait=S&suspended=…&report=…` is answered 200 with an `Offer` as
soon as the generation for this router is not G, or 204 after S seconds in which it was. `POST {url}/ack` takes an
`Acknowledgement`, answered 204. `report` is a `Report` as JSON: a router that is older has none, a server that is
older passes it over. Both with `Authorization: Bearer …` where the router has a token.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

CONFIG_PATH: Final = "/config"
ACK_PATH: Final = "/ack"
REPORT_VERSION: Final = 1
MOST_TOLD: Final = 16
"""Arms in one report: it is part of a request's first line, of which a server takes 8 KiB."""
BEGAN: Final = "%Y%m%dT%H%M%S"
"""What an incarnation begins with, a hyphen behind it: when the router began, UTC."""
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


Features = Literal["loaded", "missing", "other", "unknown"]
"""Of a version, as its bento tells them: all there, not or not wholly there, asked and another version answered, not
known (the bento does not answer, does not say, or cannot read its feature store)."""


class ArmReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One arm's version, as one router sees it. The arm `primary` has no pairs."""

    arm: str
    version: str
    pairs: Annotated[int, Meta(ge=0)] = 0
    """Outcomes `paired` of this arm and this version since the router began: of an incarnation it never falls."""
    features: str = ""
    """One of `Features`; "" of a version that is not in force, or not asked yet. A reader passes over other words."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a router counted in this life, and what its bentos say: with every question, and once more at its end."""

    schema_version: int = REPORT_VERSION
    """A later one only adds fields; what is not known is passed over."""
    arms: tuple[ArmReport, ...] = ()
    """Those in force first, then versions that were; at most `MOST_TOLD`."""
