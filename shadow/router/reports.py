"""What a router tells its configuration server of itself: pairs by version, and what its bentos say of their features.

A bento is asked `GET /model` on a connection of its own, beside all users: nothing of it is in the way of a request.
Its words are taken as they come; an upstream that is no bento of ours is `unknown`. Next module:
`shadow.router.remote`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from shadow.control_contract import MOST_TOLD, ArmReport, Features, Report
from shadow.router.addresses import upstream
from shadow.router.config import RouterConfig
from shadow.router.counters import Counters
from shadow.router.polling import ServerError, asked
from shadow.router.pool import Pool
from shadow.router.server import Server

PRIMARY: Final = "primary"
MODEL_PATH: Final = "/model"
ASK_SECONDS: Final = 15.0
"""Between two questions to each bento."""
ANSWER_SECONDS: Final = 3.0


class _Features(msgspec.Struct, frozen=True):
    state: Literal["loaded", "missing", "unknown"] = "unknown"


class _Model(msgspec.Struct, frozen=True):
    """The part of a bento's `GET /model` that is read here."""

    bento: str = ""
    features: _Features = _Features()


class Reporter:
    """One router's reports."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._features: dict[tuple[str, str], Features] = {}
        """By arm and version, of those that were in force when they were asked."""

    def text(self) -> str:
        """The report of now."""
        return msgspec.json.encode(self.report()).decode()

    def report(self) -> Report:
        """The same, not written yet."""
        config = self._server.control.config
        return Report(arms=tuple(_told(config, self._server.router.counters, self._features))[:MOST_TOLD])

    async def run(self) -> None:
        """Ask the bentos, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(ASK_SECONDS)

    async def ask(self) -> None:
        """Ask each bento of the configuration once, all at the same time; while copying is suspended the primary alone:
        after an abort nothing at all goes to an arm."""
        control = self._server.control
        primary, arms = control.config.primary, () if control.suspended else control.config.arms
        places = {(PRIMARY, primary.version): (primary.url, "")}
        places |= {(arm.name, arm.version): (arm.url, arm.host) for arm in arms}
        answers = await asyncio.gather(
            *(features_of(url, host, version) for (_, version), (url, host) in places.items())
        )
        self._features = dict(zip(places, answers, strict=True))


def _told(config: RouterConfig, counters: Counters, features: dict[tuple[str, str], Features]) -> Iterator[ArmReport]:
    now = {PRIMARY: config.primary.version} | {arm.name: arm.version for arm in config.arms}
    pairs = {name: arm.pairs for name, arm in counters.arms.items()}
    for name, version in now.items():
        count = pairs.get(name, {}).get(version, 0)
        yield ArmReport(arm=name, version=version, pairs=count, features=features.get((name, version), ""))
    for name, versions in pairs.items():
        for version, count in reversed(versions.items()):
            if now.get(name) != version:
                yield ArmReport(arm=name, version=version, pairs=count)


async def features_of(url: str, host: str, version: str) -> Features:
    """What the bento at `url` says of the features of `version`. Never raises."""
    pool = Pool(*upstream("url", url), 0, ANSWER_SECONDS)
    try:
        lines = (f"host: {host or urlsplit(url).netloc}", "accept: application/json")
        status, body = await asked(pool, b"GET", MODEL_PATH, lines, b"", ANSWER_SECONDS)
        found = msgspec.json.decode(body, type=_Model) if status == 200 else _Model()
    except (ServerError, msgspec.DecodeError, UnicodeDecodeError):
        return "unknown"
    finally:
        pool.close()
    return "other" if found.bento not in ("", version) else found.features.state
