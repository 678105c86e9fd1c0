"""The router as a process that is told to stop while copies are under way, or to change."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from shadow.processes import Running, Stage, answers
from shadow.rehearsal import HOST, command
from shadow.router.admin_cli import drained
from shadow.router.last_good import FILE
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.config_server import ConfigServer

REQUESTS = 24
CONCURRENCY = 16
"""Copies under way at once; the others wait in the queue when SIGTERM comes."""


SECRETS = {
    "UNDERSTUDY_UNIT_KEY": "a key for tests only, 32 bytes..",
    "UNDERSTUDY_ADMIN_TOKEN": "a-token-for-tests-only",
}


def configuration(port: int, shipper: Path, primary: int, shadow: int) -> dict[str, Any]:
    arm = {"url": f"http://{HOST}:{shadow}", "version": "challenger:2", "deadline_ms": 8_000}
    return {
        "experiment": "stopped",
        "listen": f"{HOST}:{port}",
        "admin": f"{HOST}:{port + 1}",
        "shipper": str(shipper),
        "primary": {"url": f"http://{HOST}:{primary}", "version": "champion:1"},
        "arms": [arm | {"name": "shadow", "concurrency": CONCURRENCY}],
        "routes": [{"method": "GET", "path": "/recommend"}],
        "unit_parameter": "user_id",
        "drain_seconds": 8,
    }


@asynccontextmanager
async def router_process(
    directory: Path,
    primary: harness.Upstream,
    shadow: harness.Upstream,
    collector: harness.Collector,
    *options: str | Path,
) -> AsyncIterator[tuple[Running, int]]:
    """A router as a process of its own, with its port; `collector` is its shipper."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(directory / "logs", os.environ | SECRETS) as stage,
    ):
        path = Path(sockets) / "shipper.sock"
        listener = await asyncio.start_unix_server(collector.serve, str(path))
        port = free_port((0, 1))
        config = directory / "router.json"
        config.write_bytes(msgspec.json.encode(configuration(port, path, primary.port, shadow.port)))
        ready = f"http://{HOST}:{port + 1}/readyz"
        router = await asyncio.to_thread(
            stage.start, "router", command("router", "--config", config, *options), lambda: answers(ready)
        )
        yield router, port
        listener.close()


async def test_sigterm_lets_the_copies_under_way_and_in_the_queue_end_and_logs_them(tmp_path: Path) -> None:
    released, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def held(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked.release()
        await released.wait()
        return await harness.echo(head, reader, writer)

    primary, shadow, collector = harness.Upstream(harness.echo), harness.Upstream(held), harness.Collector()
    await primary.start()
    await shadow.start()
    async with router_process(tmp_path, primary, shadow, collector) as (router, port), asyncio.timeout(60):
        for number in range(REQUESTS):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(harness.request(f"/recommend?user_id={number}"))
            status, _, _ = await harness.read_answer(reader)
            assert status == 200
            writer.close()
            if number < CONCURRENCY:
                await asked.acquire()
        router.process.terminate()
        await harness.closed(port)
        assert router.process.poll() is None, router.tail()
        released.set()
        assert await asyncio.to_thread(router.process.wait, 60) == 0
        await collector.ended.wait()
    for upstream in (primary, shadow):
        await upstream.stop()
    assert [record["outcome"] for record in collector.records] == ["paired"] * REQUESTS
    assert collector.frames[-1]["record"] == "goodbye"
    assert collector.frames[-1]["records"] == REQUESTS


@asynccontextmanager
async def controlled(directory: Path) -> AsyncIterator[tuple[Running, int, Path]]:
    """A router process with its port and its configuration's file."""
    primary, shadow, collector = harness.Upstream(harness.echo), harness.Upstream(harness.echo), harness.Collector()
    await primary.start()
    await shadow.start()
    async with router_process(directory, primary, shadow, collector) as (router, port), asyncio.timeout(60):
        yield router, port, directory / "router.json"
        router.process.terminate()
        await asyncio.to_thread(router.process.wait, 60)
    for upstream in (primary, shadow):
        await upstream.stop()


async def understudy(port: int, *arguments: str | Path) -> tuple[int, str, str]:
    """Run `understudy router config …` against the admin port; (exit code, standard output, standard error)."""
    line = [*command("router", "config", *arguments), "--admin", f"{HOST}:{port + 1}"]
    done = await asyncio.to_thread(
        subprocess.run, line, env=os.environ | SECRETS, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


async def state(port: int) -> dict[str, Any]:
    """What the router says of its configuration."""
    code, out, _ = await understudy(port, "get", "--json")
    assert code == 0
    document: dict[str, Any] = json.loads(out)
    return document


async def test_sighup_reads_the_file_again_and_a_bad_one_changes_nothing_and_is_told_by_its_field(
    tmp_path: Path,
) -> None:
    async with controlled(tmp_path) as (router, port, file):
        config = json.loads(file.read_bytes())
        for bad, field in (
            ({"experiment": "other"}, "experiment"),
            ({"fractoin": 1}, "fractoin"),
            ("{", "router.json"),
        ):
            file.write_text(bad if isinstance(bad, str) else json.dumps(config | bad))
            router.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(60):
                while field not in router.tail():
                    await asyncio.sleep(0.05)
        assert (await state(port))["config"]["arms"][0]["fraction"] == 1.0
        config["arms"][0]["fraction"] = 0.25
        file.write_text(json.dumps(config))
        router.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while "configuration 2 of" not in router.tail():
                await asyncio.sleep(0.05)
        assert (await state(port))["config"]["arms"][0]["fraction"] == 0.25
        assert router.process.poll() is None


async def test_the_commands_get_put_abort_resume_and_drain_a_router_that_runs(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (router, port, file):
        code, text, told = await understudy(port, "get")
        etag = told.removeprefix("etag: ").strip()
        file.write_text(text.replace('"fraction": 1.0', '"fraction": 0.5'))
        code, out, _ = await understudy(port, "put", file, "--if-match", etag)
        assert (code, out) == (0, "generation 2 in force, mode mirror\n")
        code, _, told = await understudy(port, "put", file, "--if-match", etag)
        assert (code, "is not in force" in told) == (1, True)
        file.write_text("{}")
        code, _, told = await understudy(port, "put", file, "--force")
        assert (code, "experiment" in told) == (1, True)
        assert (await understudy(port, "put", file))[0] == 2
        code, out, _ = await understudy(port, "abort")
        assert (code, out) == (0, "generation 2 in force, mode off (aborted)\n")
        code, out, _ = await understudy(port, "resume", "--json")
        assert (code, json.loads(out)["suspended"]) == (0, [])
        code, out, _ = await understudy(port, "drain")
        assert (code, out) == (0, "drained: 0 of 0 records written (0 confirmed, 0 unconfirmed), 0 dropped\n")
        assert await asyncio.to_thread(router.process.wait, 60) == 0
        code, _, told = await understudy(port, "abort")
        assert (code, "Does a router run there?" in told) == (1, True)


def test_a_drain_tells_each_count_by_its_name() -> None:
    log = {"numbered": 9, "written": 7, "confirmed": 5, "unconfirmed": 2, "dropped": 1}
    assert drained(log) == "drained: 7 of 9 records written (5 confirmed, 2 unconfirmed), 1 dropped"


async def test_an_abort_outlasts_a_kill_of_a_router_with_a_file_until_somebody_resumes(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    primary, collector = harness.Upstream(harness.echo), harness.Collector()
    await primary.start()
    async with asyncio.timeout(120):
        async with router_process(tmp_path, primary, primary, collector, "--state", kept) as (router, port):
            code, out, told = await understudy(port, "abort")
            assert (code, out, "warning" in told) == (0, "generation 1 in force, mode off (aborted)\n", False)
            router.process.kill()
            await asyncio.to_thread(router.process.wait, 60)
        async with router_process(tmp_path, primary, primary, collector, "--state", kept) as (router, port):
            found = await state_of(port)
            assert (found["mode"], found["suspended"], found["unkept"]) == ("off", ["aborted"], "")
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(harness.request("/recommend?user_id=1"))
            assert (await harness.read_answer(reader))[0] == 200
            writer.close()
            assert (await understudy(port, "resume"))[0] == 0
            router.process.kill()
            await asyncio.to_thread(router.process.wait, 60)
        async with router_process(tmp_path, primary, primary, collector, "--state", kept) as (_, port):
            assert (await state_of(port))["mode"] == "mirror"
    await primary.stop()


async def test_where_an_abort_cannot_outlast_a_restart_whoever_aborts_is_told(tmp_path: Path) -> None:
    async with controlled(tmp_path) as (_, port, _):
        code, out, told = await understudy(port, "abort")
        assert (code, out) == (0, "generation 1 in force, mode off (aborted)\n")
        assert "warning: a restart takes an abort back: no --state was given" in told


async def test_a_router_with_a_server_waits_for_it_starts_without_it_later_and_leaves_in_order(tmp_path: Path) -> None:
    primary, collector, server = harness.Upstream(harness.echo), harness.Collector(), ConfigServer()
    await primary.start()
    await server.start()
    port = free_port((0, 1))
    admin, state = f"{HOST}:{port + 1}", tmp_path / "state"
    state.mkdir()
    line = command(
        "router", "--config-server", server.url, "--name", "router-0", "--admin", admin, "--state", state
    )  # fmt: skip
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(tmp_path / "logs", os.environ | SECRETS | {"UNDERSTUDY_CONTROL_TOKEN": "a-token-of-the-server"}) as stage,
    ):
        path = Path(sockets) / "shipper.sock"
        listener = await asyncio.start_unix_server(collector.serve, str(path))
        ready, alive = (lambda: answers(f"http://{admin}/readyz")), (lambda: answers(f"http://{admin}/livez"))
        async with asyncio.timeout(120):
            waiting = await asyncio.to_thread(stage.start, "router", line, alive)
            assert not await asyncio.to_thread(ready)
            waiting.process.terminate()
            assert await asyncio.to_thread(waiting.process.wait, 60) == 0
            await asyncio.to_thread(stage.stop, "router")
            server.give(configuration(port, path, primary.port, primary.port))
            first = await asyncio.to_thread(stage.start, "router", line, ready)
            await server_told(server, 1)
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(harness.request("/recommend?user_id=1"))
            assert (await harness.read_answer(reader))[0] == 200
            writer.close()
            while not (state / FILE).exists():
                await asyncio.sleep(0.02)
            first.process.terminate()
            assert await asyncio.to_thread(first.process.wait, 60) == 0
            await asyncio.to_thread(stage.stop, "router")
            await server.stop()
            await asyncio.to_thread(stage.start, "router", line, ready)
            assert (await state_of(port))["source"] == "disk"
            await server.start()
            server.give(configuration(port, path, primary.port, primary.port))
            await server_told(server, 2)
            assert (await state_of(port))["source"] == "server"
            (tmp_path / "router.json").write_text("{}")
            code, _, told = await understudy(port, "put", tmp_path / "router.json", "--force")
            assert (code, "comes from a server" in told) == (1, True)
            assert (await understudy(port, "drain"))[0] == 0
        listener.close()
    assert server.tokens == {"bearer a-token-of-the-server"}
    await primary.stop()
    await server.stop()


async def server_told(server: ConfigServer, generation: int) -> None:
    """Until the router has acknowledged it."""
    while not server.acknowledged or server.acknowledged[-1].generation != generation:
        await asyncio.sleep(0.02)


async def state_of(port: int) -> dict[str, Any]:
    """The control's part of the counters."""

    def ask() -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://{HOST}:{port + 1}/counters",
            headers={"authorization": f"Bearer {SECRETS['UNDERSTUDY_ADMIN_TOKEN']}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            document: dict[str, Any] = json.load(answer)
        return document["control"]

    return await asyncio.to_thread(ask)
