"""The port for those who only look: kubelet and Prometheus reach it on the pod's address, and can change nothing."""

from __future__ import annotations

import asyncio
import json

import pytest

from shadow.router.config import ConfigError, parse_config
from tests.ports import free_port
from tests.shadow.router.harness import running
from tests.shadow.router.test_admin import BEARER, TOKEN, ask, get, governed

LOOKED_AT = ("/livez", "/readyz", "/metrics")


async def test_it_tells_life_readiness_and_metrics() -> None:
    async with governed(config={"observe": f"127.0.0.1:{(port := free_port())}"}):
        answers = [await get(port, path) for path in LOOKED_AT]
        assert [status for status, _, _ in answers] == [200, 200, 200]
        assert b"understudy_config_generation" in answers[2][2]


@pytest.mark.parametrize("path", ["/counters", "/config", "/abort", "/resume", "/drain", "/"])
async def test_it_has_nothing_else_even_for_those_who_have_the_token(path: str) -> None:
    async with governed(config={"observe": f"127.0.0.1:{(port := free_port())}"}) as (stage, _):
        for method in ("GET", "PUT", "POST"):
            assert (await ask(port, method, path, BEARER))[0] == 404
        assert not stage.server.draining
        assert TOKEN.encode() not in (await get(port, "/metrics"))[2]


async def test_it_says_that_the_router_drains() -> None:
    async with running(config={"observe": f"127.0.0.1:{(port := free_port())}", "deregister_seconds": 60}) as stage:
        drain = asyncio.create_task(stage.server.drain())
        try:
            await asyncio.sleep(0)
            assert (await get(port, "/readyz"))[0] == 503
            assert (await get(port, "/livez"))[0] == 200
        finally:
            stage.server.stop()
            stage.server.stop()
            await drain


async def test_without_an_address_there_is_none() -> None:
    async with running() as stage:
        assert len(stage.server._listeners) == 2


@pytest.mark.parametrize("observe", ["8702", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(observe: str) -> None:
    config = {"experiment": "e", "listen": "127.0.0.1:1", "admin": "127.0.0.1:2", "shipper": "s", "observe": observe}
    with pytest.raises(ConfigError, match=r"observe: .* is not host:port"):
        parse_config(json.dumps(config | {"primary": {"url": "http://127.0.0.1:3"}}).encode(), "test")
