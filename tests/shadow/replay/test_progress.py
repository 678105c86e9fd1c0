"""A replay that was interrupted goes on where it was, and its counts add up over all its runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadow.replay.cli import replay
from shadow.replay.progress import Progress, digest_of
from shadow.replay.requests import Recorded, ReplayError
from shadow.replay.tally import KILLED, Tally
from tests.shadow.replay.server import http, server, until_true
from tests.shadow.replay.test_pair_log import KEY, log_of, pair


def requests_file(path: Path, count: int) -> list[str]:
    path.write_text("".join(json.dumps({"event_time_us": n, "user_id": f"u{n}"}) + "\n" for n in range(count)))
    return ["--requests", str(path), "--rhythm", "constant", "--state", str(path.with_suffix(".state"))]


def users(asked: list[tuple[str, bytes]]) -> list[str]:
    return [head.split("user_id=")[1].split("&")[0] for head, _ in asked]


def test_counts_go_on_and_what_was_under_way_gets_an_error() -> None:
    tally = Tally()
    tally.sent, tally.events = 10, 2
    tally.statuses["200"], tally.errors["timeout"] = 6, 1
    later = Tally()
    later.take_up(tally.counts())
    assert (later.sent, later.events, later.statuses) == (10, 2, {"200": 6})
    assert later.errors == {"timeout": 1, KILLED: 3}


def test_the_state_of_another_replay_is_refused(tmp_path: Path) -> None:
    requests = [Recorded(1, "a")]
    progress = Progress(tmp_path / "s", digest_of(requests, [0.0]))
    assert progress.counts() is None
    progress.save(Tally())
    assert Progress(tmp_path / "s", digest_of(requests, [0.0])).counts() is not None
    others = (digest_of(requests, [0.5]), digest_of([Recorded(1, "b")], [0.0]), digest_of(requests, [0.0], "primary"))
    for other in others:
        with pytest.raises(ReplayError, match="another replay"):
            Progress(tmp_path / "s", other).counts()
    for damaged in (b"{", b'{"digest":"\xff","counts":{}}'):
        (tmp_path / "s").write_bytes(damaged)
        with pytest.raises(ReplayError, match="no state"):
            progress.counts()
    with pytest.raises(ReplayError, match="cannot be written"):
        Progress(tmp_path / "none" / "s", "").save(Tally())


def test_after_sigterm_each_request_is_sent_once_over_both_runs(tmp_path: Path) -> None:
    options = requests_file(tmp_path / "r", 400)
    with server() as (port, asked):
        target = ["--to", f"http://127.0.0.1:{port}", "--rps", "200"]
        process = subprocess.Popen([sys.executable, "-m", "shadow", "replay", *options, *target])
        until_true(lambda: len(asked) >= 50, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        first = len(asked)
        assert 50 <= first < 400
        out = tmp_path / "out.json"
        result = CliRunner().invoke(replay, [*options, *target, "--json-out", str(out)])
        assert result.exit_code == 0, result.output
        assert f"{first} of 400 were sent before" in result.output
        assert users(asked) == [f"u{n}" for n in range(400)]
        document = json.loads(out.read_text())
        assert (document["requests"], document["statuses"], document["errors"]) == (400, {"200": 400}, {})
        again = CliRunner().invoke(replay, [*options, *target])
        assert again.exit_code == 0
        assert len(asked) == 400


def test_after_kill_9_nothing_is_left_out_and_what_was_under_way_is_told(tmp_path: Path) -> None:
    options = requests_file(tmp_path / "r", 300)
    state = tmp_path / "r.state"
    silent = [True]
    with server(lambda number: b"" if silent[0] and number >= 90 else http()) as (port, asked):
        target = ["--to", f"http://127.0.0.1:{port}", "--rps", "100", "--connections", "8"]
        process = subprocess.Popen([sys.executable, "-m", "shadow", "replay", *options, *target])
        until_true(lambda: state.exists() and json.loads(state.read_bytes())["counts"]["requests"] == 98, 60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
        silent[0] = False
        out = tmp_path / "out.json"
        result = CliRunner().invoke(replay, [*options, *target, "--json-out", str(out)])
    assert result.exit_code == 1
    assert {f"u{n}" for n in range(300)} == set(users(asked))
    document = json.loads(out.read_text())
    assert document["requests"] == 300
    assert document["statuses"] == {"200": 292}
    assert document["errors"] == {KILLED: 8}


def test_what_a_comparison_found_before_a_signal_is_found_after_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The differences are all in the first run; the second is as bad."""
    monkeypatch.setenv("UNDERSTUDY_UNIT_KEY", KEY.decode())
    log = log_of(tmp_path / "log", [pair(n, "a", event_us=n) for n in range(200)])
    (tmp_path / "users").write_text('["a"]')
    out = tmp_path / "out.json"
    options = ["--pairs", log, "--users", str(tmp_path / "users"), "--compare", "primary", "--rhythm", "constant"]
    options += ["--rps", "100", "--state", str(tmp_path / "state"), "--json-out", str(out)]
    with server(lambda number: http(b"other" if number < 10 else f"p{number}".encode())) as (port, asked):
        options += ["--to", f"http://127.0.0.1:{port}", "--connections", "1"]
        process = subprocess.Popen([sys.executable, "-m", "shadow", "replay", *options])
        until_true(lambda: len(asked) >= 20, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert len(asked) < 200
        first = json.loads(out.read_text())["comparison"]
        result = CliRunner().invoke(replay, options)
        assert result.exit_code == 1, result.output
        document = json.loads(out.read_text())
        assert document["comparison"]["counts"] == {"different": 10, "same": 190}
        assert document["comparison"]["examples"] == first["examples"]
        assert document["statuses"] == {"200": 200}
        again = CliRunner().invoke(replay, options)
    assert (again.exit_code, len(asked)) == (1, 200)
    assert json.loads(out.read_text())["comparison"] == document["comparison"]
