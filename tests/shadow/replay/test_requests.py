"""What is replayed: what goes over the wire for each kind, and what a file may not hold."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.replay.requests import Recorded, ReplayError, address, read_requests


def test_a_request_for_a_list_an_event_and_a_target() -> None:
    assert Recorded(7, "a b", 3).parts() == ("GET", "/recommend?user_id=a%20b&k=3", b"")
    assert Recorded(7, target="/recommend?user_id=1").parts() == ("GET", "/recommend?user_id=1", b"")
    method, target, body = Recorded(7, "a b", item_id="9", rating=2.5).parts()
    assert (method, target) == ("POST", "/events")
    assert msgspec.json.decode(body) == {
        "event_id": "a b/9/7",
        "user_id": "a b",
        "item_id": "9",
        "timestamp_us": 7,
        "rating": 2.5,
    }


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()), st.integers(1, 100))
def test_any_user_id_arrives_as_it_was(user: str, k: int) -> None:
    query = parse_qs(urlsplit(Recorded(1, user, k).parts()[1]).query, keep_blank_values=True)
    assert query == {"user_id": [user], "k": [str(k)]}


@given(st.builds(Recorded, st.integers(0, 2**53), st.text(min_size=1), st.integers(1, 100), st.text()))
def test_a_request_is_read_as_it_was_written(request_: Recorded) -> None:
    assert msgspec.json.decode(msgspec.json.encode(request_), type=Recorded) == request_


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"event_time_us":1,"user_id":"a"}\nnonsense\n', "line 2"),
        ('{"event_time_us":1,"user_id":"\udcff"}\n', "line 1.*utf-8"),
        ('{"event_time_us":1}\n', "line 1.*user_id"),
        ('{"event_time_us":1,"user":"a"}\n', "line 1.*`user`"),
        ('{"event_time_us":1,"target":"/a b"}\n', "line 1.*no path"),
        ('{"event_time_us":1,"target":"http://x/"}\n', "line 1.*no path"),
        ('{"event_time_us":1,"target":"/a\\r\\nx: y"}\n', "line 1.*no path"),
        ('{"event_time_us":1,"user_id":"a","request_id":"b\\nc"}\n', "line 1.*request_id"),
        ('{"event_time_us":2,"user_id":"a"}\n{"event_time_us":1,"user_id":"a"}\n', "line 2 is earlier"),
        ("", "no requests"),
    ],
)
def test_a_bad_requests_file_is_refused_by_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "r").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ReplayError, match=reason):
        read_requests(tmp_path / "r")


def test_requests_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"event_time_us":1,"user_id":"a"}\n{"event_time_us":1,"user_id":"b","k":3}\n')
    assert read_requests(tmp_path / "r") == [Recorded(1, "a"), Recorded(1, "b", 3)]


@pytest.mark.parametrize("target", ["ftp://x", "http://", "x:80", "http://x/path", "http://x:port", "https://x"])
def test_what_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(ReplayError, match="not http://host:port"):
        address(target)
    assert address("http://[::1]:81/") == ("::1", 81)
    assert address("http://x") == ("x", 80)
