"""No byte of what router and shipper leave holds a user's id: records, names, logs, metrics, counters.

Canary ids go through the real processes in every place a client or a service can put them. Whatever was left is
searched for every spelling of every one of them.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec
import zstandard

import shadow
from shadow.processes import Stage, answers
from shadow.rehearsal import HOST, command
from shadow.segments import read_exposures, read_pairs
from shadow.units import unit_of
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.config_server import ConfigServer
from tests.shadow.router.test_masking import spellings

KEY = "a key for tests only, 32 bytes.."
CANARIES = ("canary-one", "canary.åé@example.org", "7182818284", 'canary"q\\b/s', "canary%41+b c")
HEAD = (
    "Host: reco\r\nUser-Agent: {user}\r\nX-Forwarded-For: {user}\r\nReferer: http://x/?user_id={user}\r\n"
    "Cookie: session={user}\r\nAuthorization: Bearer {user}\r\nX-User-Id: {user}\r\nAccept-Language: {user}\r\n"
    "traceparent: 00-{user}-00f067aa0ba902b7-01\r\ntracestate: user={user}\r\n"
)
PATCH = """
import asyncio, logging, threading
import shadow.router.exchange as hot
configure, choose = logging.basicConfig, hot.Exchange._choose

def fail(target): raise ValueError(f"cannot do {target}")

async def fail_later(target): fail(target)

class Failing:
    def __init__(self, target): self.target = target
    def __del__(self): fail(self.target)
    def __repr__(self): return self.target

def failing(self):
    target = self._request.target.decode("latin-1")
    loop = asyncio.get_running_loop()
    logging.getLogger("shadow.router").debug("the level is debug")
    if "crash=here" in target: fail(target)
    if "crash=chained" in target:
        try: fail(target)
        except ValueError as error: raise ExceptionGroup(target, [error, KeyError(target)]) from error
    if "crash=task" in target: loop.create_task(fail_later(target), name=target)
    if "crash=call" in target: loop.call_soon(fail, target)
    if "crash=thread" in target: threading.Thread(target=fail, args=(target,), name=target).start()
    if "crash=del" in target: Failing(target)
    return choose(self)

logging.basicConfig = lambda **settings: configure(**(settings | {"level": logging.DEBUG}))
hot.Exchange._choose = failing
"""
"""Errors that say the target, in every way that an error can come up in a process; all logs at their most talkative."""
CRASHES = ("here", "chained", "task", "call", "thread", "del")


@dataclass
class Play:
    """The processes, and where they leave something."""

    stage: Stage
    port: int
    directory: Path

    def scrape(self) -> bytes:
        """What the admin port and the shipper's metrics show."""
        pages = [f"http://{HOST}:{self.port + 1}/{page}" for page in ("metrics", "counters", "readyz")]
        pages.append(f"http://{HOST}:{self.port + 2}/metrics")
        return b"".join(urllib.request.urlopen(page, timeout=60).read() for page in pages)

    def left(self) -> dict[str, bytes]:
        """All files by name, segments decompressed."""
        found = {}
        for path in self.directory.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                if ".zst" in path.name:
                    data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
                found[str(path.relative_to(self.directory))] = data
        return found


async def mirror(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """A service that says everything again: the target as it came, the id decoded, in every spelling; by its path's
    question with an error, garbage, a compressed answer, a short one, or none."""
    target = harness.target_of(head)
    query = dict(part.partition("=")[::2] for part in target.partition("?")[2].split("&"))
    user = next((each for each in CANARIES if quote(each, safe="") == query.get("user_id")), "none")
    how = query.get("how", "")
    length = int(harness.headers_of(head).get("content-length", 0))
    asked = (await reader.readexactly(length)).decode("utf-8", "replace")
    document = {
        "items": [{"item_id": "1", "title": "Amélie"}],
        "self": target,
        "asked": asked,
        "user_id": int(user) if user.isdigit() else user,
        "said": [user, quote(user), quote(user, safe=""), json.dumps(user)],
        user: "as a name",
    }
    body = json.dumps(document, ensure_ascii=how == "ascii")
    if how == "text":
        body = f"user {user} asked {target}; " + " ".join(spelling.decode() for spelling in spellings(user))
    if how == "every":
        body = json.dumps(document | {"said": [spelling.decode() for spelling in spellings(user)]})
    if how == "garbage":
        writer.write(f"{user} {target}\r\n\r\n".encode())
        return False
    if how == "short":
        writer.write(f"HTTP/1.1 200 OK\r\nX-User: x\r\ncontent-length: 9999\r\n\r\n{body}".encode())
        return False
    if how == "gzip":
        data = gzip.compress(body.encode(), 0)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
        return True
    if how == "bytes":
        data = b"\xff\xfe" + body.encode() + b"\xff"
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
        return True
    if how == "long":
        body += "x" * 300_000 + user
    status = {"500": "500 Internal Server Error", "422": "422 Unprocessable Content"}.get(how, "200 OK")
    data = body.encode()
    writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
    return True


HOWS = ("", "ascii", "every", "text", "garbage", "short", "gzip", "bytes", "long", "500", "422")


@asynccontextmanager
async def playing(
    directory: Path, primary: int, arm: int, mode: str, server: ConfigServer | None = None
) -> AsyncIterator[Play]:
    """Router and shipper as processes, all they leave below `directory`; the configuration from a file or a server."""
    (directory / "state").mkdir()
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        tempfile.TemporaryDirectory() as patch,
        Stage(directory / "logs", os.environ | environment(Path(patch))) as stage,
    ):
        path = Path(sockets) / "s.sock"
        port = free_port((0, 1, 2))
        where = ("--socket", path, "--spool", directory / "spool", "--destination", (directory / "log").as_uri())
        metrics = ("--metrics", f"{HOST}:{port + 2}")
        await asyncio.to_thread(stage.start, "shipper", command("shipper", *where, *metrics), path.exists)
        config = {
            "experiment": "canaries",
            "listen": f"{HOST}:{port}",
            "admin": f"{HOST}:{port + 1}",
            "shipper": str(path),
            "primary": {"url": f"http://{HOST}:{primary}", "version": "champion:1"},
            "arms": [{"name": "shadow", "url": f"http://{HOST}:{arm}", "version": "challenger:2"}],
            "routes": [{"method": "GET", "path": "/recommend"}, {"method": "POST", "path": "/recommend"}],
            "mode": mode,
        }
        if mode == "split":
            config["split"] = {"arm": "shadow", "fraction": 0.5}
        file = Path(sockets) / "router.json"
        file.write_bytes(msgspec.json.encode(config))
        source: tuple[str | Path, ...] = ("--config", file)
        if server is not None:
            server.give(config)
            source = ("--config-server", server.url, "--name", "r", "--admin", f"{HOST}:{port + 1}")
        line = command("router", *source, "--state", directory / "state")
        await asyncio.to_thread(stage.start, "router", line, lambda: answers(f"http://{HOST}:{port + 1}/readyz"))
        yield Play(stage, port, directory)


def environment(patch: Path) -> dict[str, str]:
    """Of both processes."""
    (patch / "sitecustomize.py").write_text(PATCH)
    path = os.pathsep.join((str(patch), str(Path(shadow.__file__).parent.parent)))
    return {"UNDERSTUDY_UNIT_KEY": KEY, "PYTHONPATH": path, "PYTHONASYNCIODEBUG": "1"}


async def ask(port: int, raw: bytes) -> None:
    """Send it, and take whatever comes."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(raw)
    async with asyncio.timeout(60):
        if writer.can_write_eof():
            writer.write_eof()
        with suppress(ConnectionResetError):
            await reader.read()
    writer.close()


def requests(user: str) -> list[bytes]:
    """Requests with the id in every place, and some that are none."""
    once = quote(user, safe="")
    head = HEAD.format(user=once)
    found = [f"GET /recommend?user_id={once}&how={how}&k=3 HTTP/1.1\r\n{head}\r\n" for how in HOWS]
    more = (
        f"&again={once}",
        f"&x=pre-{once}",
        f"&{once}=1",
        f"&user_id={once}",
        f"&y={quote(once, safe='')}",
        f";user_id={once}",
    )
    found += [f"GET /recommend?user_id={once}{part} HTTP/1.1\r\n{head}\r\n" for part in more]
    found += [f"GET /recommend?user_id={once}&crash={how} HTTP/1.1\r\n{head}\r\n" for how in CRASHES]
    for body in (
        user,
        once,
        quote(once, safe=""),
        json.dumps({"user_id": user}),
        json.dumps({"user_id": user, "k": 3}),
    ):
        for target in (f"/recommend?user_id={once}", "/recommend", "/recommend?k=3"):
            length = len(body.encode())
            found.append(f"POST {target} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}")
    if user == CANARIES[0]:
        found.append(f"GET /recommend?user_id={once} HTTP/1.1\r\n{head}X-Request-Id: {user}:1\r\n\r\n")
    found += [
        f"GET /recommend?user_id={once} HTTP/1.1\r\n{head}Content-Length: 1\r\nContent-Length: {once}\r\n\r\n",
        f"GET /{once}?user_id={once} HTTP/2.0\r\n{head}\r\n",
        f"{once} /recommend?user_id={once} HTTP/1.1\r\n{head}\r\n",
        f"GET /metrics?user_id={once} HTTP/1.1\r\n{head}\r\n",
        f"GET /other/{once}?user_id={once} HTTP/1.1\r\n{head}\r\n",
        f"POST /events HTTP/1.1\r\n{head}Content-Length: {len(user.encode())}\r\n\r\n{user}",
        f"POST /recommend?user_id={once} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{once}\r\n",
    ]
    return [request.encode() for request in found]


async def played(directory: Path, mode: str, server: ConfigServer | None = None) -> dict[str, bytes]:
    """Everything that is left after all requests, by name."""
    primary, shadow = harness.Upstream(mirror), harness.Upstream(mirror)
    await primary.start()
    await shadow.start()
    async with playing(directory, primary.port, shadow.port, mode, server) as play:
        for user in CANARIES:
            for raw in requests(user):
                await ask(play.port, raw)
        admin = await asyncio.to_thread(play.scrape)
        during = await asyncio.to_thread(play.left)
        assert await asyncio.to_thread(play.stage.stop, "router") == 0
        assert await asyncio.to_thread(play.stage.stop, "shipper") == 0
        after = play.left()
    for upstream in (primary, shadow):
        await upstream.stop()
    return {"admin": admin} | {f"during {name}": data for name, data in during.items()} | after


def leaks(left: dict[str, bytes]) -> list[str]:
    """Where which canary is found, in which spelling."""
    found = []
    for name, data in left.items():
        for where in (data, name.encode()):
            found += [
                f"{name}: {spelling!r}"
                for user in CANARIES
                for spelling in spellings(user)
                if spelling.lower() in where.lower() or json.dumps(spelling.decode())[1:-1].encode() in where
            ]
    return found


async def test_no_canary_is_in_what_router_and_shipper_leave(tmp_path: Path) -> None:
    left = await played(tmp_path, "mirror")
    pairs = list(read_pairs(tmp_path / "log"))
    assert {pair.outcome for pair in pairs} >= {"paired", "primary_error"}
    units = {unit_of(user.encode(), KEY.encode()) for user in CANARIES}
    assert {pair.unit for pair in pairs} > units  # and those of ids with a semicolon in them
    assert all(pair.unit in pair.target for pair in pairs)
    bodies = [pair.primary.body for pair in pairs if pair.primary is not None and pair.primary.status]
    assert sum(unit in body for body in bodies for unit in units) > 20
    assert sum("Amélie" in body for body in bodies) > 5
    found = leaks(left)
    assert not found, found[:10]
    assert b"understudy_shipper" in left["admin"]
    log = left["logs/router.log"]
    assert b"the level is debug" in log
    assert log.count(b"ValueError") >= len(CRASHES) * len(CANARIES)
    assert log.count(b"in fail\n") >= len(CRASHES) * len(CANARIES), "where it went wrong is told"


async def test_no_canary_is_in_what_a_split_leaves(tmp_path: Path) -> None:
    """And nothing in the configuration that is kept for a server that is away."""
    server = ConfigServer()
    await server.start()
    left = await played(tmp_path, "split", server)
    await server.stop()
    assert b'"split"' in left["state/last-good.json"]
    assert {exposure.served for exposure in read_exposures(tmp_path / "log")} >= {"shadow", "primary"}
    found = leaks(left)
    assert not found, found[:10]
