"""The router's tests run on the loop that the router runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """pytest-asyncio asks for it."""
    return {"uvloop": uvloop.new_event_loop}
