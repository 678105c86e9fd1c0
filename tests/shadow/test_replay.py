"""The replay: when requests are due, what is counted, and what is refused."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadow.replay import ReplayError, read_requests, replay, schedule
from shadow.replay_client import Recorded, Replay
from tests.ports import free_port


def test_event_time_is_shrunk_to_the_given_seconds() -> None:
    assert schedule([0, 50, 100], seconds=10, max_rps=1000) == [0, 5, 10]


def test_a_burst_is_spread_out_to_the_highest_rate() -> None:
    assert schedule([0, 0, 0, 100], seconds=1, max_rps=2) == [0, 0.5, 1.0, 1.5]


def test_requests_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"event_time_us":1,"user_id":"a"}\n{"event_time_us":1,"user_id":"b","k":3}\n')
    assert read_requests(tmp_path / "r") == [Recorded(1, "a"), Recorded(1, "b", 3)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"event_time_us":1,"user_id":"a"}\nnonsense\n', "line 2"),
        ('{"event_time_us":1}\n', "line 1.*user_id"),
        ('{"event_time_us":2,"user_id":"a"}\n{"event_time_us":1,"user_id":"a"}\n', "line 2 is earlier"),
        ("", "no requests"),
    ],
)
def test_a_bad_requests_file_is_refused_by_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(ReplayError, match=reason):
        read_requests(tmp_path / "r")


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
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


async def test_answers_are_counted_by_status_and_source_and_empty_lists_told() -> None:
    full = await play(answer('{"items":[{}],"source":"hybrid"}'))
    assert (full["requests"], full["answered"], full["statuses"]) == (5, 5, {"200": 5})
    assert (full["sources"], full["empty"], full["errors"]) == ({"hybrid": 5}, 0, {})
    assert (await play(answer('{"items":[],"source":"popular"}')))["empty"] == 5
    assert (await play(answer("{}", "503 Service Unavailable")))["statuses"] == {"503": 5}
    assert (await play(answer("not json")))["errors"] == {"unreadable body": 5}


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
