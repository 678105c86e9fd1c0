"""A log that grows while it is read: what is uploaded between two steps of the reader is no loss and no stranger."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from shadow.compaction import compact
from shadow.contracts import Goodbye, SpoolDrop
from shadow.durable_files import write_atomically
from shadow.incarnations import MANIFEST
from shadow.log_store import LogStore, PairLogError
from shadow.segments import read_pairs
from tests.shadow import written
from tests.shadow.buckets import BUCKET, bucket
from tests.shadow.router.test_shipper import Shippers, frame, hello, on_a_stage, record  # noqa: F401 - a fixture

GROWTH = 1_500
"""Records that come while a log is read again and again."""
PAIRS = [written.pair(number) for number in range(60)]


class Uploading:
    """A shipper that is ahead of the reader: the log of `PAIRS`, uploaded file by file to `root`."""

    def __init__(self, root: Path, scratch: Path, done: int) -> None:
        self.root = root
        directory = written.incarnation(scratch, PAIRS, complete=False, numbered=-1)
        whole = written.manifest_of(directory)
        self._files: list[tuple[str, bytes]] = []
        for number, entry in enumerate(whole.segments, start=1):
            self._files.append((entry.name, (directory / entry.name).read_bytes()))
            told = msgspec.structs.replace(whole, segments=whole.segments[:number])
            self._files.append((MANIFEST, msgspec.json.encode(told)))
        self.upload(done)

    def upload(self, number: int) -> None:
        """The next `number` files."""
        directory = self.root / "test" / "one"
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in self._files[:number]:
            write_atomically(directory / name, data)
        self._files = self._files[number:]


@pytest.fixture
def interleaved(monkeypatch: pytest.MonkeyPatch) -> Callable[[Uploading, int, int], list[str]]:
    """Before the reader's call to the store of that number, counted from 0, so many files are uploaded."""

    def install(shipper: Uploading, at: int, files: int) -> list[str]:
        calls: list[str] = []

        def before(name: str, real: Callable[..., object]) -> Callable[..., object]:
            def call(store: LogStore, *arguments: object) -> object:
                calls.append(name)
                if len(calls) == at + 1:
                    shipper.upload(files)
                return real(store, *arguments)

            return call

        for name in ("list", "chunks"):
            monkeypatch.setattr(LogStore, name, before(name, getattr(LogStore, name)))
        return calls

    return install


@pytest.mark.parametrize("done", [1, 2, 3, 4])
@pytest.mark.parametrize("files", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("at", range(8))
def test_what_is_uploaded_while_a_log_is_read_is_neither_lost_nor_a_stranger(
    tmp_path: Path, interleaved: Callable[[Uploading, int, int], list[str]], done: int, files: int, at: int
) -> None:
    shipper = Uploading(tmp_path / "log", tmp_path / "scratch", done)
    interleaved(shipper, at, files)
    log = read_pairs(tmp_path / "log")
    numbers = [each.sequence for each in log]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 10 * ((done + 1) // 2)
    health = log.health
    assert (health.missing, health.awaited, health.absent, health.unlisted) == (0, 0, [], [])
    assert all("never said goodbye" in told or "no manifest" in told for told in health.problems())


def test_what_a_listing_missed_is_not_taken_for_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is no instant: it may have a segment and not the one before, both uploaded meanwhile."""
    shipper = Uploading(tmp_path / "log", tmp_path / "scratch", done=5)
    real, looks = LogStore.list, 0

    def torn(store: LogStore, deepest: int = 2) -> object:
        nonlocal looks
        looks += 1
        found = real(store, deepest)
        return [each for each in found if looks > 1 or "000000000010" not in each.name]

    monkeypatch.setattr(LogStore, "list", torn)
    log = read_pairs(tmp_path / "log")
    assert [each.sequence for each in log] == list(range(30))
    assert (log.health.missing, log.health.absent) == (0, [])
    assert shipper.root.is_dir()


def test_a_segment_beyond_the_manifest_is_ahead_of_it_and_one_among_the_listed_is_a_stranger(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, PAIRS, complete=False, numbered=-1)
    whole = written.manifest_of(directory)
    listed = (*whole.segments[:2], *whole.segments[3:5])
    written.write_manifest(directory, msgspec.structs.replace(whole, segments=listed))
    log = read_pairs(tmp_path)
    assert len(list(log)) == 60
    assert log.health.unlisted == ["test/one/000000000020.jsonl.zst"]
    assert log.health.ahead == ["test/one/000000000050.jsonl.zst"]
    written.write_manifest(directory, msgspec.structs.replace(whole, segments=listed, complete=True, records=60))
    ended = read_pairs(tmp_path)
    assert len(list(ended)) == 60
    assert (len(ended.health.unlisted), ended.health.ahead) == (2, [])


def test_numbers_that_a_living_routers_manifest_tells_beyond_its_segments_are_awaited(tmp_path: Path) -> None:
    """It said goodbye, or dropped newer records, while older ones wait in the spool for their upload."""
    directory = written.incarnation(tmp_path, PAIRS[:20], complete=False, numbered=-1)
    whole = written.manifest_of(directory)
    written.write_manifest(directory, msgspec.structs.replace(whole, records=50))
    log = read_pairs(tmp_path)
    assert len(list(log)) == 20
    assert (log.health.missing, log.health.awaited) == (0, 30)
    drop = SpoolDrop(reason="full", records=4, bytes=0, first_sequence=36, last_sequence=39)
    written.write_manifest(directory, msgspec.structs.replace(whole, drops=(drop,)))
    log = read_pairs(tmp_path)
    assert len(list(log)) == 20
    assert (log.health.missing, log.health.awaited) == (0, 16)
    assert any(told.startswith("16 records are not uploaded yet") for told in log.health.problems())
    written.write_manifest(directory, msgspec.structs.replace(whole, drops=(drop,), complete=True, records=40))
    log = read_pairs(tmp_path)
    assert len(list(log)) == 20
    assert (log.health.missing, log.health.dropped_by_shipper, log.health.awaited) == (20, 4, 0)


def feed(shippers: Shippers, end: threading.Event) -> int:
    """Records without a pause until told to end; how many."""
    sent = 0
    with shippers.connect() as router:
        router.sendall(hello())
        while not end.is_set():
            router.sendall(b"".join(record(number) for number in range(sent, sent + 20)))
            sent += 20
            end.wait(0.01)
        router.sendall(frame(Goodbye(incarnation="one", records=sent, dropped=0)))
    return sent


@pytest.mark.parametrize("kind", ["directory", "bucket"])
def test_reading_beside_a_real_shipper_never_tells_a_loss(
    shippers: Shippers, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "directory":
        beside_a_shipper(shippers, str(shippers.destination), ())
        return
    with bucket(tmp_path) as (_, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        shippers.stage.environment.update(environment)
        location = f"s3://{BUCKET}/live"
        endpoint = ("--destination", location, "--endpoint", environment["AWS_ENDPOINT_URL"])
        beside_a_shipper(shippers, location, endpoint)


def beside_a_shipper(shippers: Shippers, location: str, options: tuple[str, ...]) -> None:
    shippers.start(*options, "--segment-bytes", "8000", "--segment-seconds", "0.2")
    out, end, sent = shippers.directory / "out", threading.Event(), list[int]()
    out.mkdir()
    feeder = threading.Thread(target=lambda: sent.append(feed(shippers, end)))
    feeder.start()
    try:
        while not looked(location):
            end.wait(0.05)
        lengths = [looked(location)]
        while len(lengths) < 25 or lengths[-1] < lengths[0] + GROWTH:
            lengths.append(looked(location))
        state = compact(location, out)
    finally:
        end.set()
        feeder.join()
    assert lengths == sorted(lengths)
    claimed = state.watermarks["test"].arrival_us
    assert claimed is not None
    assert claimed < sum(file.rows for file in state.routers["test/one"].files)
    assert shippers.stage.stop("shipper") == 0
    log = read_pairs(location)
    assert len(list(log)) == sent[0]
    assert log.health.problems() == []


def looked(location: str) -> int:
    """One reading of the log as it is now; how many records it has."""
    try:
        log = read_pairs(location)
    except PairLogError as error:
        if "nothing there" not in str(error) and "no pair log there" not in str(error):
            raise
        return 0  # nothing was uploaded yet
    numbers = [each.sequence for each in log]
    health = log.health
    assert numbers == list(range(len(numbers)))
    assert (health.missing, health.awaited, health.duplicates) == (0, 0, 0)
    assert (health.absent, health.unlisted, health.torn, health.checksum_failures) == ([], [], [], [])
    return len(numbers)
