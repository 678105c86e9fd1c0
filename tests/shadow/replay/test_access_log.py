"""Access logs: the example of Apache's own documentation, what nginx writes, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from shadow.replay.access_log import read_access_log
from shadow.replay.requests import Recorded, ReplayError

APACHE = (
    '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 '
    '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"\n'
)
"""https://httpd.apache.org/docs/2.4/logs.html#combined."""


def nginx(request: str, second: int = 0) -> str:
    return f'::1 - - [02/Dec/2000:00:00:{second:02} +0000] "{request}" 200 12 "-" "curl/8.5 \\"quoted\\" [x]"\n'


def test_the_example_of_the_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(APACHE)
    requests, left_out = read_access_log(tmp_path / "log")
    # 20:55:36 UTC, by `date -u -d '2000-10-10 13:55:36 -0700' +%s`.
    assert requests == [Recorded(971_211_336_000_000, target="/apache_pb.gif")]
    assert not left_out


def test_lines_are_put_in_order_and_what_cannot_be_replayed_is_counted(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        nginx("GET /recommend?user_id=2 HTTP/1.1", 9)
        + nginx("GET /recommend?user_id=1 HTTP/1.1", 3)
        + nginx("GET /recommend?user_id=3 HTTP/1.1", 9)
        + nginx("POST /events HTTP/1.1")
        + nginx("GET /metrics HTTP/1.1")
        + nginx("\\x16\\x03\\x01")
        + "free text\n"
    )
    requests, left_out = read_access_log(tmp_path / "log", "/recommend")
    assert [request.target[-1] for request in requests] == ["1", "2", "3"]
    assert left_out == {"not a GET": 2, "not under /recommend": 1, "not in the Combined Log Format": 1}


def test_a_log_without_a_request_is_refused_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(nginx("POST /events HTTP/1.1") * 2)
    with pytest.raises(ReplayError, match="2 × not a GET"):
        read_access_log(tmp_path / "log")
    (tmp_path / "empty").touch()
    with pytest.raises(ReplayError, match="it is empty"):
        read_access_log(tmp_path / "empty")
