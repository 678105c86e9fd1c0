"""The router's configuration: one JSON file, every field typed and bounded, what is unknown refused by its name.

Next module: `shadow.router.server`, which is started with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shadow.contracts import PRIMARY
from shadow.router.addresses import address, is_private, upstream
from shadow.router.http1 import IDEMPOTENT

Name = Annotated[str, Meta(pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\Z")]
"""A DNS label: it becomes a directory, a metric's label, a header's value."""
Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]
HeaderName = Annotated[str, Meta(pattern="^[A-Za-z0-9!#$%&'*+.^_`|~-]+\\Z")]
HeaderValue = Annotated[str, Meta(pattern="^([\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?)?\\Z")]
TargetPath = Annotated[str, Meta(pattern="^/[!-~]*\\Z")]
"""\\Z here and above, for $ lets a line feed pass, which would end a header of every copy."""
MOST_ARMS: Final = 64
"""Arms of one router in all its life: each has counters to its end."""
NEVER_COPIED: Final = frozenset({b"/events"})
"""Paths whose requests change the facts that all arms share: a copy would count them twice (DESIGN §4)."""
CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"})
"""Headers that no arm gets from a client."""


class ConfigError(Exception):
    """A configuration that cannot be used; the text names file, field and remedy."""


class Primary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version that answers users."""

    url: str
    """http://host:port, without a path."""
    version: str = ""
    """What the records call it."""
    deadline_ms: Milliseconds = 5_000
    """A request that is not answered by then gets 504."""
    idle_connections: Annotated[int, Meta(ge=0, le=4096)] = 64
    """Connections kept open for reuse."""


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm that gets copies: a shadow, or the control."""

    name: Name
    url: str
    """http://host:port, without a path."""
    version: str = ""
    """What the records call it."""
    fraction: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Part of the users whose requests are copied; resolution 1e-6, buckets are nested."""
    deadline_ms: Milliseconds = 2_000
    """A copy that is not answered by then is arm_timeout; the wait in the queue does not count."""
    queue_bytes: Annotated[int, Meta(ge=1, le=1 << 32)] = 64 << 20
    """Bytes of copies that may wait; a copy that does not fit is dropped:queue_full."""
    queue_seconds: Annotated[float, Meta(gt=0)] = 5.0
    """A copy that has waited longer is dropped:expired: a slow arm is asked about now, not about long ago."""
    concurrency: Annotated[int, Meta(ge=1, le=4096)] = 16
    """Copies under way at once."""
    answer_bytes: Annotated[int, Meta(ge=0, le=16 << 20)] = 256 << 10
    """Bytes of an answer's body that are kept in a record; what is longer is marked truncated."""
    breaker_failures: Annotated[int, Meta(ge=1)] = 20
    """So many failures in a row open the breaker."""
    breaker_seconds: Annotated[float, Meta(gt=0)] = 1.0
    """An open breaker lets one copy through as a probe after this time."""
    sampling: Literal["hash", "counter"] = "hash"
    """hash: by user, the same at every replica; counter: every n-th request of this router, exact but not by user."""
    host: HeaderValue = ""
    """The Host header of copies; empty: the client's."""
    paths: dict[TargetPath, TargetPath] = {}
    """Path of a route: path at the arm, where it differs."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Set on every copy, over what the client sent: a key of the arm's own, say."""


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is eligible for copying. A method that changes something is copied only if it is named here."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    path: TargetPath
    """Compared exactly with the path of the target."""


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who gets another arm's answers instead of the primary's, in mode split."""

    arm: Name
    """One of the arms; its own `fraction` and `sampling` are not used then."""
    fraction: Annotated[float, Meta(ge=0, le=1)]
    """Part of the users; resolution 1e-6, buckets are nested."""


class RouterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration."""

    experiment: Name
    listen: str
    """host:port where users ask."""
    admin: str
    """host:port of counters and metrics; keep it on the loopback."""
    shipper: str
    """Path of the shipper's unix socket."""
    observe: str = ""
    """host:port of liveness, readiness and metrics alone, for those who ask from elsewhere; "" (the default): none."""
    primary: Primary
    arms: Annotated[tuple[Arm, ...], Meta(max_length=MOST_ARMS)] = ()
    mode: Literal["mirror", "split", "off"] = "mirror"
    """mirror: the primary answers, arms get copies; split: an arm answers some users; off: nothing is copied."""
    split: Split | None = None
    """Of mode split, and needed there."""
    routes: tuple[Route, ...] = (Route(method="GET", path="/recommend"),)
    private_paths: tuple[str, ...] = (
        "/docs",
        "/docs.json",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi.json",
        "/readyz",
        "/redoc",
        "/schema.json",
        "/static_content",
    )
    """What the primary has for its operators: 404 here, with all below them, however they are spelt."""
    unit_parameter: str = "user_id"
    """The query parameter that names the user."""
    copy_bytes: Annotated[int, Meta(ge=0, le=16 << 20)] = 256 << 10
    """Longest request body that is copied; a longer one is served, and its pair is dropped:too_large."""
    copy_headers: tuple[HeaderName, ...] = ()
    """Headers of the client that arms get besides the usual ones; never credentials."""
    connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Clients' connections at once; one more is closed at once, and counted."""
    connection_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """A client's connection ends with the next answer after this time (up to a tenth later), so that load moves on."""
    deregister_seconds: Annotated[float, Meta(ge=0, le=600)] = 0.0
    """How long new connections are still taken after SIGTERM: until nobody is sent here any more."""
    drain_seconds: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """How long requests and copies under way may take after that."""


def read_config(path: Path) -> RouterConfig:
    """The configuration in `path`; `ConfigError` names the field and what is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_config(data, str(path))


def parse_config(data: bytes, where: str) -> RouterConfig:
    """The configuration in `data`, checked; `ConfigError` names `where` it came from and the field."""
    try:
        config = msgspec.json.decode(data, type=RouterConfig)
        check(config)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {error}. {_remedy(str(error))}") from error
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    return config


def _remedy(error: str) -> str:
    """What to do about a message of msgspec, which names the field (`$.arms[0].fraction`)."""
    if "unknown field" in error or "missing required field" in error:
        part = next((part for mark, part in _PARTS.items() if f"`$.{mark}" in error), RouterConfig)
        return f"The fields here are: {', '.join(part.__struct_fields__)}."
    return "Correct that value." if "$" in error else "There must be one JSON object."


_PARTS: Final[dict[str, type[msgspec.Struct]]] = {"primary": Primary, "arms": Arm, "routes": Route, "split": Split}


def check(config: RouterConfig) -> None:
    """What types cannot say; `ValueError` names the field."""
    here = address("listen", config.listen)
    address("admin", config.admin)
    if config.observe:
        address("observe", config.observe)
    if upstream("primary.url", config.primary.url) == here:
        raise ValueError(f"primary.url: {config.primary.url!r} is this router's own address; name the primary's")
    names = [arm.name for arm in config.arms]
    for arm in config.arms:
        upstream(f"arms.{arm.name}.url", arm.url)
        if names.count(arm.name) > 1 or arm.name == PRIMARY:
            raise ValueError(f"arms: the name {arm.name!r} is taken; every arm needs its own")
        _check_headers(f"arms.{arm.name}.headers", arm.headers, _OWN)
        _check_paths(f"arms.{arm.name}.paths", arm.paths.values())
        if other := sorted(arm.paths.keys() - {route.path for route in config.routes}):
            raise ValueError(f"arms.{arm.name}.paths: {other[0]} is no route, so it is never copied; correct it")
    _check_paths("routes", (route.path for route in config.routes))
    _check_headers("copy_headers", config.copy_headers, CREDENTIALS | _OWN)
    _check_split(config, names)


def _check_split(config: RouterConfig, arms: list[str]) -> None:
    if config.mode == "split" and config.split is None:
        raise ValueError('split: mode "split" needs it; give {"arm": NAME, "fraction": F}')
    if config.mode != "split" and config.split is not None:
        raise ValueError(f'split: mode is {config.mode!r}; remove it, or set mode to "split"')
    if config.split is not None and config.split.arm not in arms:
        raise ValueError(f"split.arm: there is no arm {config.split.arm!r}; the arms are: {', '.join(arms) or 'none'}")

    if config.split is not None and all(route.method.encode() in IDEMPOTENT for route in config.routes):
        for arm in config.arms:
            if arm.name != config.split.arm and arm.sampling == "hash" and 0 < arm.fraction <= config.split.fraction:
                raise ValueError(
                    f"arms.{arm.name}.fraction: {arm.fraction} is within split.fraction {config.split.fraction}, and "
                    "what the split's arm answers is not copied: raise it, or set it to 0"
                )


def _check_paths(field: str, paths: Iterable[str]) -> None:
    for path in paths:
        if is_private(path.encode(), NEVER_COPIED):
            raise ValueError(f"{field}: {path} tells what users did and is never copied; remove it")


def _check_headers(field: str, names: Iterable[str], refused: frozenset[str]) -> None:
    for name in names:
        if name.lower() in refused or name.lower().startswith("x-understudy-"):
            raise ValueError(f"{field}: {name!r} cannot be set or copied here; remove it")


_OWN: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "x-request-id", "expect"})
"""Headers that the router alone decides on (`host` has a field of its own)."""
