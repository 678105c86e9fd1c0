"""The replay: when requests are due, what is counted, and what is refused."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadow.replay.cli import replay
from shadow.replay.client import Replay
from shadow.replay.requests import Recorded
from tests.ports import free_port
from tests.shadow.replay.server import http, server
from tests.shadow.replay.test_pair_log import KEY, log_of, pair


async def play(respond: bytes | None, requests: int = 5, connections: int = 2) -> dict:
    """Replay against a server that answers every request with `respond` (None: closes instead)."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while respond is not None:
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(respond)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    run = Replay("127.0.0.1", port, connections, lambda: None)
    recorded = [Recorded(number, f"u&{number}") for number in range(requests)]
    assert await run.play(recorded, [0.0] * requests, 20, ()) == 0
    server.close()
    return run.tally.document() | {"heads": heads}


def answer(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode("utf-8", "surrogateescape")


async def test_answers_are_counted_by_status_and_source_and_empty_lists_told() -> None:
    full = await play(answer('{"items":[{}],"source":"hybrid"}'))
    assert (full["requests"], full["answered"], full["statuses"]) == (5, 5, {"200": 5})
    assert (full["sources"], full["empty"], full["errors"]) == ({"hybrid": 5}, 0, {})
    assert (await play(answer('{"items":[],"source":"popular"}')))["empty"] == 5
    assert (await play(answer("{}", "503 Service Unavailable")))["statuses"] == {"503": 5}
    for text in ("not json", '{"items":["\udcff"]}', "[" * 5_000):
        assert (await play(answer(text)))["errors"] == {"unreadable body": 5}


async def test_each_request_names_its_user_time_and_id() -> None:
    heads = (await play(answer("{}"), requests=3))["heads"]
    assert sorted(head.split(" ")[1] for head in heads) == [f"/recommend?user_id=u%26{n}&k=10" for n in range(3)]
    assert {head.split("X-Understudy-Event-Time: ")[1].split("\r\n")[0] for head in heads} == {"0", "1", "2"}
    assert len({head.split("X-Request-Id: ")[1].split("\r\n")[0] for head in heads}) == 3


async def test_a_server_that_closes_is_an_error_of_each_request() -> None:
    result = await play(None)
    assert result["answered"] == 0
    assert sum(result["errors"].values()) == 5


def test_an_unreachable_router_ends_with_1_and_a_bad_target_with_2(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"event_time_us":1,"user_id":"a"}\n')
    port = free_port()
    arguments = ["--requests", str(tmp_path / "r"), "--json-out", str(tmp_path / "out.json"), "--to"]
    result = CliRunner().invoke(replay, [*arguments, f"http://127.0.0.1:{port}"])
    assert result.exit_code == 1
    assert json.loads((tmp_path / "out.json").read_text())["errors"] == {"ConnectionRefusedError": 1}
    assert CliRunner().invoke(replay, [*arguments, "ftp://x"]).exit_code == 2


async def test_a_signal_ends_it_with_what_was_sent_so_far(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"event_time_us":0,"user_id":"a"}\n{"event_time_us":9,"user_id":"b"}\n')
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer('{"items":[{}]}'))
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    target = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    where = ("--requests", str(tmp_path / "r"), "--to", target, "--seconds", "600")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shadow", "replay", *where, stdout=asyncio.subprocess.PIPE
    )
    await asyncio.wait_for(asked.wait(), 30)
    process.send_signal(signal.SIGTERM)
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 128 + signal.SIGTERM
    assert output.startswith(b"1 requests")
    server.close()


def invoke(port: int, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(replay, ["--to", f"http://127.0.0.1:{port}", *options])
    return result.exit_code, result.output


def test_events_are_posted_only_when_asked_and_counted_apart(tmp_path: Path) -> None:
    file, out = tmp_path / "r", tmp_path / "out.json"
    file.write_text(
        '{"event_time_us":1,"user_id":"a"}\n{"event_time_us":1,"user_id":"a","item_id":"7","rating":5.0}\n'
        '{"event_time_us":2,"user_id":"a"}\n'
    )
    options = ["--requests", str(file), "--seconds", "0.1", "--connections", "1", "--json-out", str(out)]
    with server() as (port, asked):
        code, output = invoke(port, *options)
        assert (code, len(asked)) == (0, 2)
        assert "1 events are not sent" in output
        assert json.loads(out.read_text())["events"] == 0
        asked.clear()
        assert invoke(port, *options, "--events")[0] == 0
    assert [head.split(" ")[:2] for head, _ in asked] == [
        ["GET", "/recommend?user_id=a&k=10"],
        ["POST", "/events"],
        ["GET", "/recommend?user_id=a&k=10"],
    ]
    assert json.loads(asked[1][1])["event_id"] == "a/7/1"
    document = json.loads(out.read_text())
    # An answer to an event is no list, empty or not; its latency is not one of a list.
    assert (document["requests"], document["events"], document["statuses"]) == (3, 1, {"200": 3})
    assert (document["empty"], document["sources"]) == (0, {"hybrid": 2})


def test_an_access_log_is_replayed_with_what_was_left_out_told(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    line = '::1 - - [02/Dec/2000:00:00:0{} +0000] "{}" 200 1 "-" "x"\n'
    log.write_text(
        line.format(0, "GET /recommend?user_id=1 HTTP/1.1")
        + line.format(1, "GET /metrics HTTP/1.1")
        + line.format(2, "GET /recommend?user_id=2 HTTP/1.1")
    )
    with server() as (port, asked):
        code, output = invoke(port, "--access-log", str(log), "--speed", "100")
    assert code == 0
    assert "1 left out: not under /recommend" in output
    assert "2 requests, the last is due after 0:00:00" in output
    assert [head.split(" ")[1] for head, _ in asked] == ["/recommend?user_id=1", "/recommend?user_id=2"]
    times = [head.split("X-Understudy-Event-Time: ")[1].split("\r\n")[0] for head, _ in asked]
    assert times == ["975715200000000", "975715202000000"]


def test_answers_are_compared_with_those_of_a_pair_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_UNIT_KEY", KEY.decode())
    log = log_of(tmp_path / "log", [pair(n, "a") for n in range(3)])
    (tmp_path / "users").write_text('["a"]')
    out = tmp_path / "out.json"
    options = ["--pairs", log, "--users", str(tmp_path / "users"), "--compare", "primary", "--json-out", str(out)]
    with server(lambda number: http(b"p1" if number == 1 else b"px")) as (port, asked):
        code, output = invoke(port, *options, "--connections", "1")
        assert (code, len(asked)) == (1, 3)
        assert [head.split("X-Request-Id: ")[1].split("\r\n")[0] for head, _ in asked] == ["r0", "r1", "r2"]
        found = json.loads(out.read_text())["comparison"]
        assert found["counts"] == {"same": 1, "different": 2}
        assert found["places"] == {"bytes": 2}
        assert "r0 at bytes: from byte 1: b'0' was logged, b'x' came" in output
        code, output = invoke(port, *options[:-4], "--compare", "nobody")
        assert (code, "no answer of it" in output) == (2, True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "name one source"),
        (["--requests", "FILE", "--pairs", "x"], "name one source"),
        (["--requests", "FILE", "--compare", "primary"], "--compare needs --pairs"),
        (["--pairs", "x"], "--pairs needs --users"),
        (["--pairs", "x", "--users", "FILE"], "UNDERSTUDY_UNIT_KEY"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, options: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNDERSTUDY_UNIT_KEY", raising=False)
    (tmp_path / "r").write_text('{"event_time_us":1,"user_id":"a"}\n')
    code, output = invoke(1, *(str(tmp_path / "r") if each == "FILE" else each for each in options))
    assert code == 2
    assert reason in output


async def test_a_signal_after_the_last_request_waits_for_its_answer() -> None:
    """What is under way has its answer, and its count, whenever the signal comes."""
    asked, answering = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await answering.wait()
        writer.write(answer('{"items":[{}]}'))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    run = Replay("127.0.0.1", server.sockets[0].getsockname()[1], 2, lambda: None)
    playing = asyncio.create_task(run.play([Recorded(0, "a")], [0.0], 20, (signal.SIGUSR1,)))
    await asyncio.wait_for(asked.wait(), 10)
    signal.raise_signal(signal.SIGUSR1)
    asyncio.get_running_loop().call_later(0.05, answering.set)
    assert await asyncio.wait_for(playing, 20) == signal.SIGUSR1
    assert (run.tally.sent, run.tally.statuses, run.tally.errors) == (1, {"200": 1}, {})
    server.close()


async def test_a_connection_that_its_server_has_closed_is_not_used_again() -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer('{"items":[{}]}'))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    run = Replay("127.0.0.1", server.sockets[0].getsockname()[1], 2, lambda: None)
    for _ in range(3):
        closed.clear()
        reader = await run._exchange(Recorded(0, "a"))
        assert reader.status == 200
        await asyncio.wait_for(closed.wait(), 10)
        while not run._idle[0][0].at_eof():
            await asyncio.sleep(0.001)
    await run._end()
    server.close()
