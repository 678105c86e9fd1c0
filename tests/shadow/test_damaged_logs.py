"""A pair log under attack: what is yielded was written, and what is missing is told, whatever became of its files."""

from __future__ import annotations

import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.contracts import PairRecord
from shadow.segment_lines import FRAME_BYTES
from shadow.segments import MANIFEST, read_pairs
from tests.shadow import written

SMALL = {name: [written.pair(number, name) for number in range(30)] for name in ("one", "two")}
BIG = {"one": [written.pair(number, "one", method="x" * 600) for number in range(500)]}
"""Its one frame is longer than what a reader takes from the disk at once."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    places = {"small": tmp_path_factory.mktemp("small"), "big": tmp_path_factory.mktemp("big")}
    for records in SMALL.values():
        written.incarnation(places["small"], records)
    written.incarnation(places["big"], BIG["one"], per_segment=500, per_frame=500)
    return places


def flip(path: Path, where: float, what: int) -> None:
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= what
    path.write_bytes(content)


def cut(path: Path, where: float, what: int) -> None:
    path.write_bytes(path.read_bytes()[: int(where * path.stat().st_size)])


def lengthen(path: Path, where: float, what: int) -> None:
    path.write_bytes(path.read_bytes() + bytes([what]) * (1 + int(where * 100)))


def insert(path: Path, where: float, what: int) -> None:
    content, place = path.read_bytes(), int(where * path.stat().st_size)
    path.write_bytes(content[:place] + bytes([what]) + content[place:])


def remove(path: Path, where: float, what: int) -> None:
    path.unlink()


def double(path: Path, where: float, what: int) -> None:
    shutil.copy(path, path.with_name(f"{what:012d}-9.jsonl.zst"))


def double_elsewhere(path: Path, where: float, what: int) -> None:
    other = path.parents[1] / "other"
    other.mkdir()
    shutil.copy(path, other / path.name)


def double_router(path: Path, where: float, what: int) -> None:
    shutil.copytree(path.parent, path.parents[1] / "copy")


def blank(path: Path, where: float, what: int) -> None:
    """A disk that gives zeros for a page."""
    content, place = path.read_bytes(), int(where * path.stat().st_size)
    path.write_bytes(content[:place] + bytes(len(content[place : place + 512])) + content[place + 512 :])


DAMAGES: tuple[Callable[[Path, float, int], None], ...] = (
    flip, flip, flip, cut, cut, lengthen, insert, remove, double, double_elsewhere, double_router, blank,
)  # fmt: skip


def check(root: Path, records: list[PairRecord], manifest_hurt: bool) -> None:
    log = read_pairs(root)
    found = list(log)
    health = log.health
    originals = {(each.incarnation, each.sequence): each for each in records}
    numbers = [(each.incarnation, each.sequence) for each in found]
    assert len(set(numbers)) == len(numbers)
    assert all(originals[number] == each for number, each in zip(numbers, found, strict=True))
    lost = len(records) - len(found)
    if not manifest_hurt:
        assert health.missing == lost
    if lost:
        assert health.problems()
    if lost and not manifest_hurt:
        assert not health.complete


@settings(max_examples=80)
@given(
    damage=st.sampled_from(DAMAGES),
    file=st.integers(0, 7),
    where=st.floats(0, 1, exclude_max=True),
    what=st.integers(1, 255),
)
def test_after_one_damage_what_is_read_was_written_and_what_is_missing_is_told(
    logs: dict[str, Path], damage: Callable[[Path, float, int], None], file: int, where: float, what: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "log"
        shutil.copytree(logs["small"], root)
        path = sorted(each for each in root.rglob("*") if each.is_file())[file]
        damage(path, where, what)
        records = [each for name in SMALL for each in SMALL[name]]
        check(root, records, manifest_hurt=path.name == MANIFEST)


@settings(max_examples=30)
@given(where=st.floats(0, 1, exclude_max=True), what=st.integers(1, 255))
def test_a_byte_flipped_in_a_long_frame_is_in_no_record(logs: dict[str, Path], where: float, what: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "log"
        shutil.copytree(logs["big"], root)
        flip(next(root.rglob("*.zst")), where, what)
        check(root, BIG["one"], manifest_hurt=False)


@settings(max_examples=30)
@given(data=st.data())
def test_after_many_damages_no_record_is_read_that_was_not_written(logs: dict[str, Path], data: st.DataObject) -> None:
    originals = [each for name in SMALL for each in SMALL[name]]
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "log"
        shutil.copytree(logs["small"], root)
        for _ in range(data.draw(st.integers(2, 6))):
            paths = sorted(each for each in root.rglob("*.zst") if each.is_file() and each.stat().st_size)
            damage = data.draw(st.sampled_from((flip, cut, lengthen, insert, blank)))
            damage(data.draw(st.sampled_from(paths)), data.draw(st.floats(0, 1, exclude_max=True)), 0x55)
        check(root, originals, manifest_hurt=False)


def test_one_damaged_frame_costs_its_own_records_and_no_others(tmp_path: Path) -> None:
    records = SMALL["one"]
    path = min(written.incarnation(tmp_path, records, per_segment=30, per_frame=5).glob("*.zst"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    log = read_pairs(tmp_path)
    assert len(list(log)) == 25
    assert (log.health.missing, len(log.health.torn)) == (5, 1)


def test_a_router_whose_directory_was_copied_is_read_once(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, SMALL["one"])
    shutil.copytree(directory, directory.with_name("copy"))
    log = read_pairs(tmp_path)
    assert list(log) == SMALL["one"]
    assert (log.health.duplicates, log.health.missing, log.health.incarnations) == (30, 0, 1)
    assert not log.health.complete


def test_a_lost_segment_at_the_end_of_a_log_that_never_ended_is_missing(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, SMALL["one"], numbered=-1, complete=False)
    max(directory.glob("*.zst")).unlink()
    log = read_pairs(tmp_path)
    assert len(list(log)) == 20
    assert (log.health.missing, len(log.health.absent)) == (10, 1)


@pytest.mark.parametrize(
    "line",
    [
        b'{"record":"pair","request_id":"\xff"}',
        b'{"record":"pair","x":' + b"[" * 100_000,
        b'{"record":"pair","sequence":' + b"9" * 5_000 + b"}",
        b'{"record":"pair","request_id":"\\ud800"}',
        b"",
        b"null",
    ],
)
def test_a_line_that_is_no_record_is_counted_and_ends_nothing(tmp_path: Path, line: bytes) -> None:
    from shadow.segment_writer import SegmentWriter

    writer = SegmentWriter(tmp_path / "test" / "one", 0, 0.0)
    for number in range(2):
        writer.append(msgspec.json.encode(SMALL["one"][number]), number, 0, 0.0)
        writer.append(line, number, 0, 0.0)
    writer.flush()
    writer.close()
    log = read_pairs(tmp_path)
    assert list(log) == SMALL["one"][:2]
    assert log.health.undecodable == 2


def test_a_frame_that_would_take_all_memory_is_damage_and_what_is_behind_it_is_read(tmp_path: Path) -> None:
    path = next(written.incarnation(tmp_path, SMALL["one"], per_segment=30).glob("*.zst"))
    bomb = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(1 << 28))
    path.write_bytes(bomb + path.read_bytes())
    log = read_pairs(tmp_path)
    tracemalloc.start()
    assert list(log) == SMALL["one"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * FRAME_BYTES
    assert len(log.health.torn) == 1


def test_a_frame_without_a_checksum_is_not_ours_and_what_is_behind_it_is_read(tmp_path: Path) -> None:
    """Nobody could tell a flipped byte in it."""
    path = next(written.incarnation(tmp_path, SMALL["one"], per_segment=30).glob("*.zst"))
    line = msgspec.json.encode(SMALL["one"][0]) + b"\n"
    path.write_bytes(zstandard.ZstdCompressor(write_checksum=False).compress(line) + path.read_bytes())
    log = read_pairs(tmp_path)
    assert list(log) == SMALL["one"]
    assert (len(log.health.torn), log.health.duplicates) == (1, 0)


@pytest.mark.parametrize("newer", ["one", "another"])
def test_of_two_directories_of_a_router_the_manifest_that_tells_more_counts(tmp_path: Path, newer: str) -> None:
    """A pod that was given another name, say: what only the newer manifest knows is missing, whichever comes first."""
    for name in ("one", "another"):
        directory = written.incarnation(tmp_path, SMALL["one"])
        manifest = written.manifest_of(directory)
        if name == newer:
            manifest = msgspec.structs.replace(manifest, records=len(SMALL["one"]) + 7)
        else:
            manifest = msgspec.structs.replace(manifest, complete=False, records=-1)
        written.write_manifest(directory, manifest)
        if name == "one":
            shutil.move(directory, tmp_path / "kept")
    shutil.move(tmp_path / "test" / "one", tmp_path / "test" / "another")
    shutil.move(tmp_path / "kept", tmp_path / "test" / "one")
    log = read_pairs(tmp_path)
    assert list(log) == SMALL["one"]
    assert (log.health.missing, log.health.duplicates) == (7, len(SMALL["one"]))
