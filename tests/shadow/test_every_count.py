"""One damage each, and exactly what the reader then counts, in a directory and in a bucket: nothing else moves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shadow.contracts import SpoolDrop
from shadow.log_health import LogHealth
from shadow.segment_writer import SegmentWriter, open_path
from shadow.segments import MANIFEST, read_exposures, read_pairs
from tests.shadow import written
from tests.shadow.buckets import BUCKET

FIRST, LAST = "000000000000.jsonl.zst", "000000000020.jsonl.zst"
LABEL = "test/one/"


def log(root: Path) -> Path:
    """Two routers of thirty pairs, three segments each of frames of 4, 4 and 2; the first one's directory."""
    written.incarnation(root, [written.pair(number, "two") for number in range(30)])
    return written.incarnation(root, [written.pair(number) for number in range(30)])


def rewritten(directory: Path, name: str, lines: Sequence[bytes | msgspec.Struct]) -> None:
    """The segment with other lines, and the manifest as if its shipper had written it so."""
    whole = written.manifest_of(directory)
    (directory / name).unlink()
    writer = SegmentWriter(directory, int(name[:12]), 0.0)
    for line in lines:
        data = line if isinstance(line, bytes) else msgspec.json.encode(line)
        writer.append(data, int(name[:12]), 0, 0.0)
    writer.flush()
    entry = writer.close()
    assert entry is not None
    old = next(each for each in whole.segments if each.name == name)
    entry = msgspec.structs.replace(entry, last_sequence=old.last_sequence)
    segments = tuple(entry if each is old else each for each in whole.segments)
    written.write_manifest(directory, msgspec.structs.replace(whole, segments=segments))


def first_ten(**changes: Any) -> list[msgspec.Struct | bytes]:
    """The first segment's records, number 4 of them changed."""
    return [written.pair(number, **(changes if number == 4 else {})) for number in range(10)]


def cut_tail(directory: Path) -> None:
    path = directory / LAST
    path.write_bytes(path.read_bytes()[:-3])


def cut_at_a_frame(directory: Path) -> None:
    path = directory / LAST
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"\x28\xb5\x2f\xfd")])


def flip(directory: Path) -> None:
    path = directory / FIRST
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def never_written(directory: Path) -> None:
    rewritten(directory, FIRST, [each for number, each in enumerate(first_ten()) if number not in (3, 4, 7)])


def sent_twice(directory: Path) -> None:
    rewritten(directory, FIRST, [*first_ten(), written.pair(2), written.pair(3)])


def copied_segment(directory: Path) -> None:
    shutil.copy(directory / FIRST, directory / "000000000000-2.jsonl.zst")


def of_another_router(directory: Path) -> None:
    rewritten(directory, FIRST, first_ten(incarnation="two"))


def of_another_experiment(directory: Path) -> None:
    rewritten(directory, FIRST, first_ten(experiment="other"))


def of_a_later_version(directory: Path) -> None:
    rewritten(directory, FIRST, first_ten(schema_version=9))


def of_a_version_of_another_shape(directory: Path) -> None:
    later = {"record": "pair", "schema_version": 9, "experiment": "test", "incarnation": "one", "sequence": 4}
    lines = first_ten()
    lines[4] = json.dumps(later | {"answers": []}).encode()
    rewritten(directory, FIRST, lines)


def of_a_later_version_of_another_router(directory: Path) -> None:
    rewritten(directory, FIRST, first_ten(schema_version=9, incarnation="two"))


def no_record(directory: Path) -> None:
    lines = first_ten()
    lines[4] = b'{"record":"pair","sequence":4}'
    rewritten(directory, FIRST, lines)


def removed_segment(directory: Path) -> None:
    (directory / FIRST).unlink()


def added_segment(directory: Path) -> None:
    written.segment(directory, [written.pair(30)])


def left_open(directory: Path) -> None:
    (directory / LAST).rename(open_path(directory / LAST))


def no_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink()


def hurt_manifest(directory: Path) -> None:
    (directory / MANIFEST).write_bytes((directory / MANIFEST).read_bytes()[:-2])


def later_manifest(directory: Path) -> None:
    written.write_manifest(directory, msgspec.structs.replace(written.manifest_of(directory), schema_version=9))


def copied_router(directory: Path) -> None:
    shutil.copytree(directory, directory.with_name("copy"))


def no_goodbye(directory: Path) -> None:
    changed = msgspec.structs.replace(written.manifest_of(directory), complete=False, records=-1)
    written.write_manifest(directory, changed)


def dropped(directory: Path) -> None:
    """Ten numbers more than there are records: three by the router, five by the shipper, two nobody knows of."""
    drop = SpoolDrop(reason="full", records=5, bytes=0, first_sequence=30, last_sequence=36)
    changed = msgspec.structs.replace(written.manifest_of(directory), records=40, dropped=3, drops=(drop,))
    written.write_manifest(directory, changed)


def no_goodbye_and_a_gap(directory: Path) -> None:
    """The router dropped three records or a crash took them: nobody told."""
    never_written(directory)
    no_goodbye(directory)


def hurt_and_no_goodbye(directory: Path) -> None:
    no_goodbye(directory)
    drop = SpoolDrop(reason="disk", records=2, bytes=0, first_sequence=3, last_sequence=4)
    changed = msgspec.structs.replace(written.manifest_of(directory), drops=(drop,))
    written.write_manifest(directory, changed)
    never_written(directory)


def dropped_and_no_goodbye(directory: Path) -> None:
    """By its last heartbeat it had dropped two of its 24, and a crash took one; of the later ones one is gone."""
    no_goodbye(directory)
    told = {"numbered": 24, "dropped": 2, "told_us": written.START_US + 7}
    written.write_manifest(directory, msgspec.structs.replace(written.manifest_of(directory), **told))
    never_written(directory)
    rewritten(directory, LAST, [written.pair(number) for number in range(20, 29)])


def known_key(directory: Path) -> None:
    written.write_manifest(directory, msgspec.structs.replace(written.manifest_of(directory), key_id="0badcafe"))


Counts = dict[str, Any]
SINCE = {"drops_unknown": {"test/one": written.START_US}}
"""The router tells what it dropped with its goodbye alone."""
UNTOLD = {"drops_unknown": {"test/one": 0}}
UNSURE = {"complete": False}
CASES: tuple[tuple[Callable[[Path], None], Counts], ...] = (
    (lambda directory: None, {}),
    (
        cut_tail,
        UNSURE | {"records": 58, "missing": 2, "lost": 2, "torn": [LABEL + LAST], "checksum_failures": [LABEL + LAST]},
    ),
    (cut_at_a_frame, UNSURE | {"records": 58, "missing": 2, "lost": 2, "checksum_failures": [LABEL + LAST]}),
    (
        flip,
        UNSURE
        | {"records": 56, "missing": 4, "lost": 4, "torn": [LABEL + FIRST], "checksum_failures": [LABEL + FIRST]},
    ),
    (never_written, {"records": 57, "missing": 3, "lost": 3}),
    (sent_twice, {"duplicates": 2}),
    (copied_segment, UNSURE | {"segments": 7, "duplicates": 10, "unlisted": [LABEL + "000000000000-2.jsonl.zst"]}),
    (of_another_router, {"records": 59, "missing": 1, "lost": 1, "foreign": 1}),
    (of_another_experiment, {"records": 59, "missing": 1, "lost": 1, "foreign": 1}),
    (of_a_later_version, {"records": 59, "unknown_schema": 1}),
    (of_a_version_of_another_shape, {"records": 59, "unknown_schema": 1}),
    (of_a_later_version_of_another_router, {"records": 59, "missing": 1, "lost": 1, "foreign": 1}),
    (no_record, {"records": 59, "missing": 1, "lost": 1, "undecodable": 1}),
    (removed_segment, UNSURE | {"segments": 5, "records": 50, "missing": 10, "lost": 10, "absent": [LABEL + FIRST]}),
    (added_segment, UNSURE | {"segments": 7, "records": 61, "unlisted": [LABEL + "000000000030.jsonl.zst"]}),
    (left_open, UNSURE | {"unclosed": [LABEL + LAST + ".open"], "absent": [LABEL + LAST]}),
    (no_manifest, UNSURE | UNTOLD | {"without_manifest": ["test/one"]}),
    (hurt_manifest, UNSURE | UNTOLD | {"without_manifest": ["test/one"]}),
    (later_manifest, UNSURE | UNTOLD | {"without_manifest": ["test/one"]}),
    (copied_router, UNSURE | {"segments": 9, "duplicates": 30, "doubled": ["test/one in test/one"]}),
    (no_goodbye, UNSURE | SINCE | {"unfinished": ["test/one"]}),
    (
        no_goodbye_and_a_gap,
        UNSURE | SINCE | {"records": 57, "missing": 3, "undetermined": 3, "unfinished": ["test/one"]},
    ),
    (
        hurt_and_no_goodbye,
        UNSURE
        | SINCE
        | {"records": 57, "missing": 3, "dropped_by_shipper": 2, "undetermined": 1, "unfinished": ["test/one"]},
    ),
    (
        dropped_and_no_goodbye,
        UNSURE
        | {
            "records": 56,
            "missing": 4,
            "dropped_before_shipping": 2,
            "undetermined": 1,
            "lost": 1,
            "drops_known": {"test/one": written.START_US + 7},
            "unfinished": ["test/one"],
        },
    ),
    (known_key, {"key_ids": {"test/one": "0badcafe"}}),
    (dropped, {"missing": 10, "lost": 2, "dropped_before_shipping": 3, "dropped_by_shipper": 5}),
)


def counted(location: Path | str) -> Counts:
    """The health of the log, and what of it exposures are told: the same, but for the kind."""
    pairs, exposures = read_pairs(location), read_exposures(location)
    records = list(pairs)
    assert list(exposures) == []
    assert len(records) == pairs.health.records == exposures.health.other_kind
    same = msgspec.structs.replace(exposures.health, records=len(records), other_kind=0)
    assert same == pairs.health
    return msgspec.to_builtins(pairs.health)


@pytest.mark.parametrize(("damage", "changes"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_each_damage_moves_its_own_counts_and_no_others(
    tmp_path: Path, damage: Callable[[Path], None], changes: Counts
) -> None:
    check(damage, changes, tmp_path / "log", str(tmp_path / "log"))


@pytest.mark.parametrize(("damage", "changes"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_in_a_bucket_too(
    tmp_path: Path, bucket_directory: Path, damage: Callable[[Path], None], changes: Counts
) -> None:
    check(damage, changes, bucket_directory / tmp_path.name, f"s3://{BUCKET}/{tmp_path.name}")


def check(damage: Callable[[Path], None], changes: Counts, root: Path, location: str) -> None:
    whole = msgspec.to_builtins(LogHealth(segments=6, records=60, incarnations=2, complete=True))
    damage(log(root))
    assert counted(location) | {"bytes": 0} == whole | changes


def test_the_table_has_every_count_that_there_is() -> None:
    told = {name for _, changes in CASES for name in changes}
    # Others have tests of their own: erasure, growth, the two kinds; `bytes` is the files' length.
    assert set(LogHealth.__struct_fields__) - told == {
        "erased",
        "awaited",
        "ahead",
        "other_kind",
        "bytes",
        "incarnations",
    }
