"""One call: what is sent, and every way in which it can go wrong, in one line with a remedy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from bentos.errors import RegistryError
from bentos.mlflow_rest import Connection
from bentos.registered import OneVersion
from bentos.settings import RegistrySettings
from tests.ports import free_port

SETTINGS = RegistrySettings(deadline_s=5, token="", username="", password="")
VERSION = {"model_version": {"name": "m", "version": "3", "creation_timestamp": 17, "a_newer_field": [1]}}


async def ask(
    answer: Callable[[httpx.Request], httpx.Response],
    address: str = "http://registry:5000",
    settings: RegistrySettings = SETTINGS,
) -> OneVersion:
    connection = Connection(address, settings, httpx.MockTransport(answer))
    try:
        return await connection.ask(OneVersion, "GET", "model-versions/get", name="m", version=3)
    finally:
        await connection.close()


def refusing(status: int, **content: object) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, **content)


async def test_a_call_goes_to_the_path_of_the_address_and_its_answer_is_typed() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=VERSION)

    found = await ask(answer, "https://host/prefix/")
    assert (found.model_version.number, found.model_version.created_ms) == (3, 17)
    assert str(seen[0].url) == "https://host/prefix/api/2.0/mlflow/model-versions/get?name=m&version=3"
    assert "authorization" not in seen[0].headers


@pytest.mark.parametrize(
    ("settings", "address", "expected"),
    [
        (RegistrySettings(5, "secret", "", ""), "http://h", "Bearer secret"),
        (RegistrySettings(5, "secret", "u", "p"), "http://h", "Bearer secret"),
        (RegistrySettings(5, "", "u", "p"), "http://h", "Basic " + base64.b64encode(b"u:p").decode()),
        (RegistrySettings(5, "", "", ""), "http://u:p@h", "Basic " + base64.b64encode(b"u:p").decode()),
    ],
)
async def test_credentials_are_sent(settings: RegistrySettings, address: str, expected: str) -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json=VERSION)

    await ask(answer, address, settings)
    assert seen == [expected]


ERROR = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version (name=m, version=3) not found"}


@pytest.mark.parametrize(
    ("answer", "status", "problem", "remedy"),
    [
        (refusing(404, json=ERROR), 404, "model-versions/get: 404 Model Version (name=m, version=3) not found", ""),
        (refusing(404, text="<html>nothing here"), 404, "404 Not Found", "no MLflow at this address; check its path"),
        (refusing(401, text="who?"), 401, "401 Unauthorized", "Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME"),
        (refusing(403, json={"error_code": "PERMISSION_DENIED", "message": "no"}), 403, "403 no", "Set MLFLOW_"),
        (
            refusing(403, text="Invalid Host header - possible DNS rebinding attack detected"),
            403,
            "does not answer to the name registry:5000",
            "--allowed-hosts registry:5000",
        ),
        (refusing(308, headers={"location": "https://x/"}), 308, "it sends to https://x/", "Give that address"),
        (refusing(503, json={"error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}), 503, "503 busy", "log"),
        # What MLflow says of its database goes on for lines, with the statement in them.
        (
            refusing(503, json={"error_code": "TEMPORARILY_UNAVAILABLE", "message": "full\n[SQL: …]"}),
            503,
            "full. See",
            "log",
        ),
        (refusing(502, text="<html>"), 502, "502 Bad Gateway", "or of the proxy before it"),
        (refusing(200, text="<html>"), 0, "none of MLflow's", "Check the address"),
        (refusing(200, json={"model_version": {"version": "3"}}), 0, "missing required field `name`", "Check the"),
        (refusing(200, content=b'{"model_version": "\xff"}'), 0, "none of MLflow's", "Check the address"),
    ],
)
async def test_a_refusal_names_the_address_the_problem_and_the_remedy(
    answer: Callable[[httpx.Request], httpx.Response], status: int, problem: str, remedy: str
) -> None:
    with pytest.raises(RegistryError) as raised:
        await ask(answer)
    text = str(raised.value)
    assert text.startswith("registry http://registry:5000: ")
    assert problem in text
    assert remedy in text
    assert raised.value.status == status


async def test_credentials_in_the_address_are_in_no_error() -> None:
    with pytest.raises(RegistryError) as raised:
        await ask(refusing(500), "http://me:secret@host")
    assert "registry http://host: " in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(RegistrySettings(5, "secret", "u", "secret"))


async def test_nobody_at_the_address_is_told_at_once() -> None:
    connection = Connection(f"http://127.0.0.1:{free_port()}", SETTINGS)
    with pytest.raises(RegistryError, match=r"cannot be asked \(.*\)\. Start it, or give the address"):
        await connection.ask(OneVersion, "GET", "model-versions/get")
    await connection.close()


async def test_the_deadline_is_for_the_whole_call_though_bytes_trickle() -> None:
    """A server that sends one byte of its headers every 20 ms: no read is late, the call is."""
    hung_up = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        hung_up.set()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection(f"http://127.0.0.1:{port}", RegistrySettings(0.3, "", "", ""))
    with pytest.raises(RegistryError, match=r"no answer to model-versions/get within 0\.3 s.*DEADLINE_S"):
        await asyncio.wait_for(connection.ask(OneVersion, "GET", "model-versions/get"), 10)
    await connection.close()
    await asyncio.wait_for(hung_up.wait(), 10)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("address", ["ftp://host", "host:5000", "http://", "", "http://[::1", "sqlite:///x.db"])
def test_what_is_no_address_is_refused_by_name(address: str) -> None:
    with pytest.raises(RegistryError, match=r"Give http://HOST:PORT"):
        Connection(address, SETTINGS)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", ""])
def test_a_deadline_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="UNDERSTUDY_REGISTRY_DEADLINE_S must be a number above 0"):
        RegistrySettings.load({"UNDERSTUDY_REGISTRY_DEADLINE_S": text})


def test_the_client_costs_a_serving_process_nothing_before_it_is_used() -> None:
    program = "import bentos.registry, bentos.promotions, sys; print('httpx' in sys.modules, 'mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
