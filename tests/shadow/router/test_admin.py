"""The admin port: who may see what, and who may change what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shadow.router import admin as module
from shadow.router.aborts import keep_aborts
from shadow.router.admin import BODY_BYTES, Admin
from shadow.router.config import Primary, RouterConfig
from shadow.router.last_good import BY_HAND
from shadow.router.server import Server
from tests.ports import free_port
from tests.shadow.router.harness import KEY, Gate, Set, abandon, read_answer, request, running, silent, until

TOKEN = "a-token-for-tests-only"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"


def port_of(stage: Set) -> int:
    return int(stage.server._listeners[1].sockets[0].getsockname()[1])


async def ask(
    port: int, method: str, path: str, headers: str = "", body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    framing = "" if body is None else f"Content-Length: {len(body)}\r\n"
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: admin\r\n{framing}{headers}\r\n".encode() + (body or b""))
    try:
        return await read_answer(reader)
    finally:
        writer.close()


async def get(port: int, path: str, headers: str = "") -> tuple[int, dict[str, str], bytes]:
    return await ask(port, "GET", path, headers)


async def put(port: int, config: RouterConfig | bytes, etag: str) -> tuple[int, Any, Any]:
    body = config if isinstance(config, bytes) else msgspec.json.encode(config)
    status, told, answer = await ask(port, "PUT", "/config", f"If-Match: {etag}\r\n{BEARER}", body)
    return status, told, json.loads(answer)


@asynccontextmanager
async def governed(**settings: Any) -> AsyncIterator[tuple[Set, int]]:
    """A router whose admin port knows the token, and that port."""
    async with running(admin_token=TOKEN.encode(), **settings) as stage:
        yield stage, port_of(stage)


async def test_counters_are_json_and_metrics_are_prometheus() -> None:
    async with running() as stage:
        port = port_of(stage)
        status, headers, body = await get(port, "/counters")
        document: dict[str, Any] = json.loads(body)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert document["arms"]["shadow"]["balance"] == 0
        assert set(document["arms"]["shadow"]["outcomes"]) >= {"paired", "arm_timeout", "dropped:queue_full"}
        status, _, body = await get(port, "/metrics")
        assert status == 200
        for line in (
            b'understudy_requests_total{arm="shadow",place="received"} 0.0',
            b'understudy_config_generation{source="file"} 1.0',
            b'understudy_mode{mode="mirror"} 1.0',
            b'understudy_suspended{reason="aborted"} 0.0',
        ):
            assert line in body
        assert b"\nunderstudy_config_lease_seconds " not in body


async def test_readiness_ends_with_the_drain_and_liveness_does_not() -> None:
    async with running(config={"deregister_seconds": 60}) as stage:
        port = port_of(stage)
        assert (await get(port, "/readyz"))[0] == 200
        drain = asyncio.create_task(stage.server.drain())
        await until(lambda: stage.server.draining)
        assert (await get(port, "/readyz"))[::2] == (503, b"draining\n")
        assert (await get(port, "/livez"))[0] == 200
        for _ in range(2):
            stage.server.stop()
        await drain


async def test_other_paths_and_methods_are_refused() -> None:
    async with running() as stage:
        port = port_of(stage)
        assert (await get(port, "/"))[0] == 404
        status, headers, _ = await ask(port, "POST", "/counters")
        assert (status, headers["allow"]) == (405, "get")
        assert (await ask(port, "GET", "/livez", "Host: two\r\n"))[0] == 400


async def test_one_who_asks_nothing_or_too_much_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.05)
    async with running() as stage:
        for raw in (b"", b"GET /" + b"x" * 20_000, b"PUT /config HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(stage))
            writer.write(raw)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 60) == b""
            writer.close()


async def test_more_connections_than_are_taken_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTIONS", 2)
    async with running() as stage:
        port = port_of(stage)
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await until(lambda: len(stage.server.admin._serving) == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 60) == b""
        for _, each in (*held, (reader, writer)):
            each.close()
        await until(lambda: not stage.server.admin._serving)
        assert (await get(port, "/livez"))[0] == 200


PROTECTED = [
    ("GET", "/config", None),
    ("PUT", "/config", b"{}"),
    ("POST", "/abort", b""),
    ("POST", "/resume", b""),
    ("POST", "/drain", b""),
]


@pytest.mark.parametrize(("method", "path", "body"), PROTECTED)
async def test_what_changes_something_or_shows_keys_needs_the_token(method: str, path: str, body: bytes | None) -> None:
    async with governed() as (stage, port):
        before = stage.server.router
        for headers in (
            "",
            "Authorization: Bearer \r\n",
            "Authorization: Bearer another-token\r\n",
            f"Authorization: Bearer {TOKEN[:-1]}\r\n",
            f"Authorization: Basic {TOKEN}\r\n",
            f"Authorization: {TOKEN}\r\n",
            BEARER + BEARER,
        ):
            status, told, _ = await ask(port, method, path, headers, body)
            assert (status, told["www-authenticate"]) == (401, "bearer"), headers
        assert (stage.server.router, stage.server.draining) == (before, False)


@pytest.mark.parametrize(("method", "path", "body"), PROTECTED)
async def test_without_a_token_of_its_own_a_router_changes_nothing_for_anybody(
    method: str, path: str, body: bytes | None
) -> None:
    async with running() as stage:
        for headers in ("", "Authorization: Bearer \r\n", BEARER):
            status, _, told = await ask(port_of(stage), method, path, headers, body)
            assert status == 403
            assert b"UNDERSTUDY_ADMIN_TOKEN" in told


async def test_probes_and_metrics_need_no_token_and_counters_need_it_once_there_is_one() -> None:
    async with governed() as (_, port):
        assert [(await get(port, path))[0] for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
        assert (await get(port, "/counters"))[0] == 401
        assert (await get(port, "/counters", f"authorization: bearer {TOKEN}\r\n"))[0] == 200


async def test_what_is_got_can_be_put_again_and_is_in_force_with_the_next_request() -> None:
    async with governed() as (stage, port):
        _, headers, body = await get(port, "/config", BEARER)
        changed = body.replace(b'"fraction": 1.0', b'"fraction": 0.0')
        status, told, answer = await put(port, changed, headers["etag"])
        assert (status, answer["generation"], answer["source"]) == (200, 2, "admin")
        assert told["etag"] == stage.server.control.etag != headers["etag"]
        await stage.get("/recommend?user_id=1")
        assert stage.arm.not_sampled == 1
        assert json.loads((await get(port, "/config", BEARER))[2]) == json.loads(changed)


async def test_of_two_who_change_the_same_configuration_the_second_is_told_what_is_in_force() -> None:
    async with governed() as (stage, port):
        etag, config = stage.server.control.etag, stage.server.config
        ours = msgspec.structs.replace(config, copy_bytes=1)
        theirs = msgspec.structs.replace(config, copy_bytes=2)
        both = await asyncio.gather(put(port, ours, etag), put(port, theirs, etag))
        assert sorted(status for status, _, _ in both) == [200, 412]
        [(_, headers, told)] = [each for each in both if each[0] == 412]
        assert (headers["etag"], told["etag"]) == (stage.server.control.etag,) * 2
        assert told["config"]["copy_bytes"] == stage.server.config.copy_bytes
        assert (await put(port, theirs, "*"))[0] == 200


@pytest.mark.parametrize("headers", ["", 'If-Match: "1.0"\r\nIf-Match: *\r\n'])
async def test_who_does_not_say_what_is_replaced_replaces_nothing(headers: str) -> None:
    async with governed() as (stage, port):
        body = msgspec.json.encode(stage.server.config)
        assert (await ask(port, "PUT", "/config", BEARER + headers, body))[0] == 428
        assert stage.server.control.generation == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fractoin": 1}, "`fractoin`"),
        ({"copy_bytes": -1}, "$.copy_bytes"),
        ({"primary": {"url": "ftp://h"}}, "primary.url"),
        ({"listen": "127.0.0.1:1"}, "listen: a running router cannot change it"),
        ({"mode": "split"}, "split: mode"),
    ],
)
async def test_a_bad_configuration_is_refused_by_its_field_and_the_one_before_stays(change: Any, said: str) -> None:
    async with governed() as (stage, port):
        before = stage.server.router
        document = json.loads(stage.server.control.text) | change
        status, _, told = await put(port, json.dumps(document).encode(), stage.server.control.etag)
        assert status == 422
        assert said in told["detail"]
        assert stage.server.router is before
        assert stage.server.control.changes == {"accepted": 0, "refused": 1}
        assert stage.server.document()["control"]["error"]["kind"] == "refused"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_configuration_at_all_is_refused_too(body: bytes) -> None:
    async with governed() as (stage, port):
        assert (await put(port, body, "*"))[0] == 422
        assert stage.server.control.generation == 1


async def test_a_body_beyond_the_bound_is_refused() -> None:
    async with governed() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"PUT /config HTTP/1.1\r\nHost: a\r\n{BEARER}If-Match: *\r\nContent-Length: {1 << 30}\r\n\r\n"
        writer.write(head.encode() + b" " * (BODY_BYTES + 1))
        assert (await read_answer(reader))[0] == 413
        writer.close()


async def test_an_abort_drops_what_waits_and_calls_back_what_is_under_way_and_outlasts_configurations() -> None:
    async with governed(shadow=silent, concurrency=1, deadline_ms=60_000) as (stage, port):
        for number in range(3):
            await stage.get(f"/recommend?user_id={number}")
        await until(lambda: stage.shadow.heads)
        etag = stage.server.control.etag
        status, _, body = await ask(port, "POST", "/abort", BEARER, b"")
        assert (status, json.loads(body)["suspended"], json.loads(body)["mode"]) == (200, ["aborted"], "off")
        assert stage.outcomes == {"dropped:shutdown": 3}
        await until(lambda: not stage.shadow.open)
        assert (await put(port, stage.server.control.config, etag))[0] == 412  # who did not see the abort is told
        assert (await put(port, stage.server.control.config, stage.server.control.etag))[2]["mode"] == "off"
        await stage.get("/recommend?user_id=1")
        assert stage.arm.not_sampled == 1
        assert b'understudy_suspended{reason="aborted"} 1.0' in (await get(port, "/metrics"))[2]
        assert json.loads((await ask(port, "POST", "/resume", BEARER, b""))[2])["mode"] == "mirror"
        await stage.get("/recommend?user_id=1")
        await until(lambda: len(stage.shadow.heads) == 2)
        assert json.loads((await ask(port, "POST", "/abort", BEARER, b""))[2])["suspended"] == ["aborted"]


async def test_an_abort_cuts_what_an_earlier_configuration_left_under_way() -> None:
    async with governed(shadow=silent, deadline_ms=60_000) as (stage, port):
        await stage.get("/recommend?user_id=1")
        await until(lambda: stage.shadow.heads)
        stage.server.adopt(msgspec.structs.replace(stage.server.config, arms=()))
        await ask(port, "POST", "/abort", BEARER, b"")
        assert stage.outcomes == {"dropped:shutdown": 1}


@pytest.mark.parametrize("kept", [b'{"aborted":true}', b"", b"\xff"])
async def test_what_was_kept_and_is_an_abort_or_unreadable_starts_without_copies(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / BY_HAND).write_bytes(kept)
    async with governed() as (stage, port):
        control = stage.server.control
        keep_aborts(control, tmp_path)
        await asyncio.sleep(0)
        assert (control.suspended, stage.server.config.mode) == ({"aborted"}, "off")
        status, _, _ = await ask(port, "POST", "/resume", BEARER, b"")
        assert (status, control.unkept) == (200, "")
    assert (tmp_path / BY_HAND).read_bytes() == b'{"aborted":false}'


async def test_an_abort_that_the_disk_does_not_take_is_in_force_and_the_disk_is_named(tmp_path: Path) -> None:
    async with governed() as (stage, port):
        keep_aborts(stage.server.control, tmp_path / "gone")
        status, _, body = await ask(port, "POST", "/abort", BEARER, b"")
        document = json.loads(body)
        assert (status, document["mode"]) == (200, "off")
        assert str(tmp_path / "gone" / BY_HAND) in document["unkept"]
        assert document["error"]["kind"] == "disk"


async def test_a_drain_is_answered_when_all_is_done() -> None:
    gate = Gate()
    async with governed(shadow=gate, config={"drain_seconds": 30}) as (stage, port):
        run = asyncio.create_task(ended(stage))
        await stage.get("/recommend?user_id=1")
        asked = asyncio.create_task(ask(port, "POST", "/drain", BEARER, b""))
        await until(lambda: stage.server.closing)
        assert not asked.done()
        gate.open.set()
        status, _, body = await asked
        assert (status, json.loads(body)["pair_log"]["written"]) == (200, 1)
        await run


async def ended(stage: Set) -> None:
    """What `Server.run` does once it is to stop."""
    await stage.server._stopping.wait()
    await stage.server.drain()


async def test_while_it_drains_nothing_changes_but_an_abort_works() -> None:
    settings: dict[str, Any] = {"config": {"deregister_seconds": 60}, "deadline_ms": 60_000}
    async with governed(shadow=silent, **settings) as (stage, port):
        await stage.get("/recommend?user_id=1")
        await until(lambda: stage.shadow.heads)
        drain = asyncio.create_task(stage.server.drain())
        await until(lambda: stage.server.draining)
        status, _, told = await put(port, stage.server.config, "*")
        assert (status, "the router is leaving" in told["detail"]) == (422, True)
        await ask(port, "POST", "/abort", BEARER, b"")
        assert stage.outcomes == {"dropped:shutdown": 1}
        for _ in range(2):
            stage.server.stop()
        await drain


class House:
    """A process that has no configuration yet."""

    control = None

    def document(self) -> dict[str, Any]:
        return {}

    def unready(self) -> str:
        return "no configuration yet"

    async def leave(self) -> None:
        pass


async def test_the_admin_port_answers_before_there_is_a_configuration() -> None:
    admin = Admin(House(), TOKEN.encode())
    listener = await admin.start("127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    found = [(await get(port, path, BEARER))[0] for path in ("/livez", "/readyz", "/metrics", "/config")]
    await admin.close()
    assert found == [200, 503, 200, 503]


async def test_a_router_is_not_ready_before_users_can_connect(tmp_path: Path) -> None:
    admin = Admin(House())
    listener = await admin.start("127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    config = RouterConfig(
        experiment="test", listen=f"127.0.0.1:{free_port()}", admin="127.0.0.1:0", shipper=str(tmp_path / "s"),
        primary=Primary(url="http://127.0.0.1:9", version="champion:1"), arms=(),
    )  # fmt: skip
    server = Server(config, KEY, admin=admin)
    assert (await get(port, "/readyz"))[0] == 503
    await server.start()
    assert (await get(port, "/readyz"))[0] == 200
    await abandon(server)
    await admin.close()


async def test_requests_of_users_do_not_wait_for_one_who_asks_slowly() -> None:
    async with governed() as (stage, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /counters HT")
        assert (await stage.send(request("/recommend?user_id=1")))[0] == 200
        writer.close()
