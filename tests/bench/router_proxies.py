"""The upstreams and the proxies of the bench, each a real process on one core, all doing the same work.

The peers' configurations are in `tests/bench/peers`, as their users write them; here only ports and addresses are
changed, and for "mirror off" the mirror is taken out. Everything of the router's that has a default has its default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from shadow.processes import answers
from shadow.rehearsal import HOST, command
from tests.bench.router_stage import PEERS, Bench, Proxy, listens, program
from tests.ports import free_port

KINDS: Final = ("router", "nginx", "envoy")
GONE: Final = "shadow.invalid"
"""A name that is in no DNS (RFC 6761)."""
SEGMENT_SECONDS: Final = 2
"""How long a segment grows: short, so that every round pays for closing and uploading; the default is 300 s."""


@dataclass(frozen=True)
class Upstreams:
    """Where primary and shadow are; `shadow_host` is a name when the shadow's name is to be looked up."""

    primary: int
    shadow: int
    shadow_host: str = HOST
    dns: int = 0
    """A name server for nginx, which needs one told; it knows no name."""
    status: int = 0
    """Where nginx tells how many requests both upstreams have had; 0 when they are no nginx."""


def kilobyte(model: str) -> str:
    """An answer of about 1 KB, in the form of the bento's."""
    items = [{"item_id": str(100 + n), "title": f"Item number {n} (1994)", "score": 0.91 - n / 100} for n in range(14)]
    labels = {"name": "hybrid", "version": model, "bento": "hybrid:3"}
    return json.dumps({"request_id": "b6e0c1f2", "items": items, "model": labels, "source": "hybrid"})


def upstreams_conf(text: str, primary: int, shadow: int, status: int, large: bool) -> str:
    """nginx-upstreams.conf with these ports, and with answers of 1 KB if `large`."""
    text = _ports(text, {9101: primary, 9102: shadow, 9103: status})
    return (
        re.sub(r"return 200 '.*?(hybrid-v\d).*?'", lambda m: f"return 200 '{kilobyte(m[1])}'", text) if large else text
    )


def nginx_conf(text: str, port: int, upstreams: Upstreams, mirror: bool) -> str:
    """nginx-mirror.conf with these ports; a shadow that has a name is looked up with every copy."""
    text = _ports(text, {9001: port, 9101: upstreams.primary, 9102: upstreams.shadow})
    if not mirror:
        return text.replace("mirror /m;", "")
    if upstreams.shadow_host != HOST:
        by_name = f"resolver {HOST}:{upstreams.dns}; set $shadow {upstreams.shadow_host}:{upstreams.shadow};"
        text = text.replace("internal;", f"internal; {by_name}").replace(
            "http://s$request_uri", "http://$shadow$request_uri"
        )
    return text


def envoy_document(text: str, port: int, upstreams: Upstreams, mirror: bool) -> Any:
    """envoy-mirror.yaml with these ports."""
    document = yaml.safe_load(_ports(text, {9002: port, 9101: upstreams.primary, 9102: upstreams.shadow}))
    manager = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    if not mirror:
        del manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["request_mirror_policies"]
    if upstreams.shadow_host != HOST:
        shadow = document["static_resources"]["clusters"][1]
        shadow["type"] = "STRICT_DNS"
        endpoint = shadow["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["address"] = upstreams.shadow_host
    return document


def router_document(port: int, admin: int, socket: Path, upstreams: Upstreams, arms: Sequence[str]) -> dict[str, Any]:
    """The router's configuration: `arms` all at the shadow's address, each with all users."""
    url = f"http://{upstreams.shadow_host}:{upstreams.shadow}"
    return {
        "experiment": "bench",
        "listen": f"{HOST}:{port}",
        "admin": f"{HOST}:{admin}",
        "shipper": str(socket),
        "primary": {"url": f"http://{HOST}:{upstreams.primary}", "version": "v3"},
        "arms": [{"name": name, "url": url, "version": "v4"} for name in arms],
    }


def _ports(text: str, ports: dict[int, int]) -> str:
    """`text` with other ports for those of the files, all in one pass: a new one may be an old one of another."""
    return re.sub("|".join(map(str, ports)), lambda m: str(ports[int(m[0])]), text)


@contextmanager
def upstreams(bench: Bench, large: bool = False) -> Iterator[Upstreams]:
    """Primary and shadow by one nginx."""
    place, found = bench.place("upstreams"), Upstreams(free_port(), free_port(), status=free_port())
    text = (PEERS / "nginx-upstreams.conf").read_text()
    conf = upstreams_conf(text, found.primary, found.shadow, found.status, large)
    with bench.started("upstreams", _nginx(place, conf), listens(found.primary)):
        yield found


def _nginx(place: Path, conf: str) -> list[str | Path]:
    (place / "nginx.conf").write_text(conf)
    return [program("nginx"), "-p", place, "-c", place / "nginx.conf", "-e", "stderr"]


@contextmanager
def proxy(
    bench: Bench, kind: str, to: Upstreams, arms: Sequence[str] = ("shadow",), wrapped: Sequence[str | Path] = ()
) -> Iterator[Proxy]:
    """A proxy of that kind in front of `to`; without `arms` it mirrors nothing.

    The router may be `wrapped`: the command that is put in the place of its interpreter's.
    """
    port, place = free_port(), bench.place(kind)
    if kind == "router":
        with _router(bench, place, port, router_document(port, free_port(), place / "s", to, arms), wrapped) as found:
            yield found
        return
    if kind == "nginx":
        start = _nginx(place, nginx_conf((PEERS / "nginx-mirror.conf").read_text(), port, to, bool(arms)))
    else:
        document = envoy_document((PEERS / "envoy-mirror.yaml").read_text(), port, to, bool(arms))
        (place / "envoy.json").write_text(json.dumps(document))
        options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
        start = [program("envoy"), "-c", place / "envoy.json", *options]
    with bench.started(kind, start, listens(port), pinned=True) as running:
        yield Proxy(kind, port, {kind: running})


@contextmanager
def _router(
    bench: Bench, place: Path, port: int, document: dict[str, Any], wrapped: Sequence[str | Path]
) -> Iterator[Proxy]:
    config, socket, spool = place / "router.json", place / "s", place / "spool"
    config.write_text(json.dumps(document))
    admin = int(document["admin"].rpartition(":")[2])
    options = ("--spool", spool, "--destination", f"file://{place}/out", "--segment-seconds", str(SEGMENT_SECONDS))
    shipper = command("shipper", "--socket", socket, *options)
    router = [*(wrapped or command()[:1]), *command("router", "--config", config)[1:]]
    with (
        bench.started("shipper", shipper, socket.exists, pinned=True) as ships,
        bench.started("router", router, lambda: answers(f"http://{HOST}:{admin}/readyz"), pinned=True) as routes,
    ):
        yield Proxy("router", port, {"router": routes, "shipper": ships}, admin, spool)
        # Records of a shadow that is ill may wait for its deadlines; what is measured here has been measured by now.
        with suppress(OSError):
            routes.process.terminate()
