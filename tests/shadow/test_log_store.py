"""Where a log lies: a directory and a bucket (a real S3 server) look the same to a reader."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shadow import log_store
from shadow.log_store import LogStore, PairLogError, ReplacedError
from shadow.segments import read_pairs
from tests.shadow import written
from tests.shadow.buckets import BUCKET
from tests.shadow.slow_link import SlowLink, slow_link

PAIRS = [written.pair(number) for number in range(40)]


def test_a_log_in_a_bucket_is_read_as_one_on_disk(bucket_directory: Path, tmp_path: Path) -> None:
    written.incarnation(tmp_path, PAIRS)
    for place in tmp_path.rglob("*"):
        if place.is_file():
            LogStore(f"s3://{BUCKET}").write(f"deep/in/{place.relative_to(tmp_path)}", place.read_bytes())
    for location in (f"s3://{BUCKET}/deep/in", f"s3://{BUCKET}/deep/in/test", f"s3://{BUCKET}/deep/in/test/one/"):
        log = read_pairs(location, "test")
        assert list(log) == PAIRS
        assert log.health.problems() == []


def test_damage_in_a_bucket_is_told_as_on_disk(bucket_directory: Path, tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, PAIRS)
    first, second, *_ = sorted(directory.glob("*.zst"))
    first.write_bytes(first.read_bytes()[:-9])
    second.unlink()
    (directory / "manifest.json").unlink()
    shutil.copytree(tmp_path / "test", bucket_directory / "hurt" / "test")
    log = read_pairs(f"s3://{BUCKET}/hurt")
    local = read_pairs(tmp_path)
    assert list(log) == list(local)
    assert log.health == local.health
    assert log.health.without_manifest == ["test/one"]


def test_names_with_spaces_and_per_cents_are_kept(bucket_directory: Path, tmp_path: Path) -> None:
    for store in (LogStore(tmp_path), LogStore(f"s3://{BUCKET}/odd")):
        store.write("a b/c%41.json", b"x" * 200_000)
        [found] = store.list()
        assert (found.name, found.bytes) == ("a b/c%41.json", 200_000)
        assert store.read("a b/c%41.json") == b"x" * 200_000
        assert b"".join(store.chunks("a b/c%41.json", 199_999)) == b"x"
        assert list(store.chunks("a b/c%41.json", 200_000)) == []
        store.delete("a b/c%41.json")
        store.delete("a b/c%41.json")
        assert store.list() == []
        with pytest.raises(FileNotFoundError):
            store.read("a b/c%41.json")


def test_a_bucket_that_is_not_there_is_told_in_one_line(bucket_directory: Path) -> None:
    for location in ("s3://no-such-bucket/logs", f"s3://{BUCKET}/nothing/here"):
        with pytest.raises(PairLogError, match=location) as told:
            read_pairs(location)
        assert "\n" not in str(told.value)


@pytest.fixture
def link(bucket_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowLink]:
    """A megabyte a second to the bucket, while no call may take more than a second."""
    monkeypatch.setattr(log_store, "REQUEST_SECONDS", 1)
    monkeypatch.setattr(log_store, "RETRY_SECONDS", 3)
    monkeypatch.setattr(log_store, "RANGE_BYTES", 256 << 10)
    port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
    assert port is not None
    with slow_link(port, 1_000_000) as link:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{link.port}")
        yield link


LONG = random.Random(1).randbytes(4_000_000)


def test_a_segment_that_takes_longer_than_a_call_may_is_read_whole(bucket_directory: Path, link: SlowLink) -> None:
    (bucket_directory / "long").write_bytes(LONG)
    store = LogStore(f"s3://{BUCKET}")
    assert store.read("long") == LONG
    assert b"".join(store.chunks("long", 3_900_000)) == LONG[3_900_000:]


def test_a_link_that_stalls_is_asked_again_and_given_up_in_the_end(bucket_directory: Path, link: SlowLink) -> None:
    (bucket_directory / "long").write_bytes(LONG)
    link.stalls = 1
    assert LogStore(f"s3://{BUCKET}").read("long") == LONG
    link.stalls = 1_000
    with pytest.raises(PairLogError, match=f"s3://{BUCKET}/long: "):
        LogStore(f"s3://{BUCKET}").read("long")


def test_what_is_replaced_while_it_is_read_is_not_mixed(
    bucket_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_store, "RANGE_BYTES", 1_000)
    store = LogStore(f"s3://{BUCKET}")
    store.write("twice", bytes(3_000))
    chunks = store.chunks("twice")
    assert next(chunks) == bytes(1_000)
    store.write("twice", b"x" * 3_000)
    with pytest.raises(ReplacedError, match=r"written anew while it was read\. Read again"):
        next(chunks)


@pytest.mark.parametrize("length", [500, 3_000])
def test_a_manifest_that_is_renewed_between_two_calls_is_read_whole(
    bucket_directory: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    import obstore

    monkeypatch.setattr(log_store, "RANGE_BYTES", 1_000)
    store, head, renewed = LogStore(f"s3://{BUCKET}"), obstore.head, 0
    store.write("renewed", bytes(length))

    def then_renewed(where: object, name: str) -> object:
        nonlocal renewed
        found = head(where, name)
        if renewed < 2:
            renewed += 1
            store.write("renewed", bytes([renewed]) * (length + renewed))
        return found

    monkeypatch.setattr(obstore, "head", then_renewed)
    assert store.read("renewed") in (b"\1" * (length + 1), b"\2" * (length + 2))


def test_what_may_not_be_read_is_told_with_its_name(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, PAIRS)
    path = min(directory.glob("*.zst"))
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"")
    assert len(list(read_pairs(tmp_path))) == 30  # a directory is no segment
