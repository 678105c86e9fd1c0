"""The load: a constant rate that a slow server does not slow down, latencies as they come, no other machine's doors."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadow.load import ensure_local, load
from shadow.load_users import MADE_UP, read_users, users
from shadow.replay.requests import ReplayError
from tests.ports import free_port

BODY = b'{"items": [{}], "source": "popular"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@contextmanager
def server(pauses: list[float], model: bytes = ANSWER) -> Iterator[tuple[int, list[str]]]:
    """(port, paths asked for, but for /model). Request n is answered after `pauses[n]` seconds, those after the last at
    once.
    """
    port, paths = free_port(), list[str]()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if head.split(" ")[1] == "/model":
                    writer.write(model)
                    continue
                paths.append(head.split(" ")[1])
                await asyncio.sleep(pauses[len(paths) - 1] if len(paths) <= len(pauses) else 0)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", port):
            started.set()
            await stopped.wait()

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield port, paths
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()


def run(port: int, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(load, ["--to", f"http://127.0.0.1:{port}", *options])
    return result.exit_code, result.stdout


def test_latencies_are_told_every_second_and_for_all(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with server([]) as (port, paths):
        code, output = run(port, "--requests", "60", "--rps", "40", "-k", "7", "--json-out", str(out))
    assert code == 0
    lines = output.splitlines()
    assert lines[0].split() == ["s", "sent", "answered", "errors", "p50", "ms", "p95", "ms", "p99", "ms"]
    assert lines[1].split()[0] == "1"
    assert "60 requests in" in output
    assert "source  popular" in output
    document = json.loads(out.read_text())
    assert (document["requests"], document["answered"], document["empty"]) == (60, 60, 0)
    assert paths[0] == "/recommend?user_id=1&k=7"
    assert len(paths) == 60


def test_a_server_that_stalls_does_not_hide_its_queue(tmp_path: Path) -> None:
    """One answer takes half a second on the one connection: those due meanwhile waited, and their latency says so."""
    out = tmp_path / "out.json"
    with server([0.5]) as (port, _):
        code, _ = run(port, "--requests", "20", "--rps", "40", "--connections", "1", "--json-out", str(out))
    assert code == 0
    document = json.loads(out.read_text())
    # The tenth was due 0.25 s after the first and left 0.5 s after it; a closed loop would call that instant.
    assert document["latency_ms"]["p50"] > 200
    assert document["late_ms"]["p50"] > 200


def test_ids_come_from_a_bundle_s_list_or_from_lines_in_turn(tmp_path: Path) -> None:
    (tmp_path / "ids.json").write_text('["a", "b c"]')
    (tmp_path / "ids.txt").write_text("a\n\nb c\n")
    assert read_users(tmp_path / "ids.json") == read_users(tmp_path / "ids.txt") == ["a", "b c"]
    with server([]) as (port, paths):
        code, _ = run(port, "--requests", "3", "--users", str(tmp_path / "ids.json"))
    assert code == 0
    assert [path.split("&")[0].split("=")[1] for path in paths] == ["a", "b%20c", "a"]
    (tmp_path / "none").write_text("[]")
    with pytest.raises(ReplayError, match="no user ids"):
        read_users(tmp_path / "none")


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (ANSWER, "does not say which bento"),
        (http(b"{}", b"404 Not Found"), "does not say which bento"),
        (http(b"[]"), "does not say which bento"),
        (b"nonsense\r\n\r\n", "does not say which bento"),
        (http(b'{"bento": "nobody:0000"}'), "nobody:0000 is not in this machine's BentoML store"),
        (http(b'{"bento": "../../x"}'), "is not in this machine's BentoML store"),
    ],
)
def test_users_who_are_made_up_are_told_with_the_reason_and_the_remedy(model: bytes, why: str) -> None:
    with server([], model) as (port, _):
        ids, told = users(None, "127.0.0.1", port)
    assert ids == [str(number) for number in range(1, MADE_UP + 1)]
    assert why in told
    assert "popularity" in told
    assert "--users" in told


def test_nobody_there_ends_with_1_and_is_counted() -> None:
    code, output = run(free_port(), "--requests", "5", "--rps", "100")
    assert code == 1
    assert "5 requests" in output
    assert "error" in output


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org", "10.0.0.1", "::2"])
def test_another_machine_is_asked_only_when_that_is_said(host: str) -> None:
    with pytest.raises(ReplayError, match=r"not this machine.*--allow-remote"):
        ensure_local(host, allow_remote=False)
    ensure_local(host, allow_remote=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_may_be_asked(host: str) -> None:
    ensure_local(host, allow_remote=False)


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1", "http://127.0.0.1/path", "127.0.0.1:80", "http://192.0.2.1:80"]
)
def test_a_bad_target_is_a_usage_error(target: str) -> None:
    result = CliRunner().invoke(load, ["--to", target])
    assert result.exit_code == 2
    assert "error:" in result.output
