"""Segments: what is written is read back; what is torn, missing, doubled or foreign is counted, never lost silently."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from shadow.contracts import Answer, Exposure, Manifest, PairRecord, SegmentEntry, SpoolDrop
from shadow.pairs_cli import pairs
from shadow.segment_recovery import recover
from shadow.segment_writer import FrameLostError, SegmentWriter, open_path
from shadow.segments import PairLogError, read_exposures, read_pairs


def record(sequence: int, incarnation: str = "one", experiment: str = "test", version: int = 1) -> PairRecord:
    return PairRecord(
        schema_version=version,
        request_id=f"r{sequence}",
        experiment=experiment,
        incarnation=incarnation,
        sequence=sequence,
        arrival_us=sequence,
        event_time_us=1_000 + sequence,
        method="GET",
        target="/recommend",
        unit="aa",
        bucket=1,
        arm="shadow",
        outcome="paired" if sequence % 5 else "arm_timeout",
        primary=Answer(version="v", status=200, body="{}"),
    )


def exposure(sequence: int, served: str = "shadow", incarnation: str = "one", version: int = 2) -> Exposure:
    return Exposure(
        schema_version=version,
        request_id=f"r{sequence}",
        experiment="test",
        incarnation=incarnation,
        sequence=sequence,
        arrival_us=sequence,
        event_time_us=1_000 + sequence,
        unit="aa",
        bucket=1,
        assigned="shadow",
        served=served,
        version="v",
        status=200,
        error="" if served == "shadow" else "timeout",
    )


def segment(directory: Path, records: Sequence[PairRecord | Exposure]) -> SegmentEntry:
    writer = SegmentWriter(directory, records[0].sequence, now=0.0)
    for number, each in enumerate(records):
        writer.append(msgspec.json.encode(each), each.sequence, each.event_time_us, now=0.0)
        if number % 3 == 2:
            writer.flush()
    writer.flush()
    entry = writer.close()
    assert entry is not None
    return entry


def log_of(root: Path, *batches: Sequence[PairRecord | Exposure], numbered: int = -1, complete: bool = True) -> Path:
    directory = root / "test" / "one"
    entries = tuple(segment(directory, batch) for batch in batches)
    manifest = Manifest(
        experiment="test", incarnation="one", router="here", started_us=0, complete=complete, records=numbered,
        segments=entries,
    )  # fmt: skip
    (directory / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return directory


def test_what_is_written_is_read_back_in_order_and_the_log_is_complete(tmp_path: Path) -> None:
    records = [record(number) for number in range(20)]
    log_of(tmp_path, records[:7], records[7:], numbered=20)
    log = read_pairs(tmp_path, "test")
    assert list(log) == records
    assert list(log) == records
    assert log.health.problems() == []
    assert log.health.complete


def test_the_entry_tells_extent_and_checksum(tmp_path: Path) -> None:
    import hashlib

    entry = segment(tmp_path, [record(number) for number in range(4, 9)])
    assert (entry.first_sequence, entry.last_sequence, entry.records) == (4, 8, 5)
    assert (entry.first_event_us, entry.last_event_us) == (1_004, 1_008)
    content = (tmp_path / entry.name).read_bytes()
    assert (entry.sha256, entry.bytes) == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_cut_anywhere_gives_its_whole_records_and_is_reported(tmp_path: Path) -> None:
    records = [record(number) for number in range(6)]
    directory = log_of(tmp_path, records, numbered=6)
    path = next(directory.glob("*.zst"))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        log = read_pairs(tmp_path)
        found = list(log)
        assert found == records[: len(found)]
        assert log.health.missing == 6 - len(found)
        assert log.health.checksum_failures
        assert log.health.problems()


def test_a_flipped_bit_is_never_read_as_a_record(tmp_path: Path) -> None:
    records = [record(number) for number in range(6)]
    path = next(log_of(tmp_path, records, numbered=6).glob("*.zst"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    log = read_pairs(tmp_path)
    found = list(log)
    assert all(each in records for each in found)
    assert log.health.checksum_failures
    assert log.health.missing == 6 - len(found) > 0


def test_gaps_doubles_strangers_and_other_versions_are_counted_and_left_out(tmp_path: Path) -> None:
    good = [record(0), record(1), record(4)]
    bad = [record(1), record(5, incarnation="two"), record(6, experiment="other"), record(7, version=9)]
    directory = log_of(tmp_path, [*good, *bad], numbered=9)
    log = read_pairs(directory)
    assert list(log) == good
    health = log.health
    assert (health.duplicates, health.foreign, health.unknown_schema) == (1, 2, 1)
    assert health.missing == 9 - len({0, 1, 4, 7})


def test_a_crashed_shippers_open_segment_is_read_and_can_be_recovered(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "test" / "one", 0, now=0.0)
    for number in range(4):
        writer.append(msgspec.json.encode(record(number)), number, 0, now=0.0)
    writer.flush()
    writer.abandon()
    log = read_pairs(tmp_path)
    assert [each.sequence for each in log] == [0, 1, 2, 3]
    assert not log.health.complete
    with open_path(writer.path).open("ab") as torn:
        torn.write(b"(\xb5/\xfd half a frame")
    entry = recover(open_path(writer.path))
    assert entry is not None
    assert entry.records == 4
    assert [each.sequence for each in read_pairs(tmp_path)] == [0, 1, 2, 3]


def test_a_full_disk_loses_a_counted_frame_and_nothing_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shadow import segment_writer

    writer = SegmentWriter(tmp_path / "test" / "one", 0, now=0.0)
    whole = segment_writer.write_whole

    def full(file: int, data: bytes, offset: int) -> None:
        whole(file, data[: len(data) // 2], offset)
        raise OSError(28, "No space left on device")

    for number, write in enumerate((whole, full, whole)):
        monkeypatch.setattr(segment_writer, "write_whole", write)
        writer.append(msgspec.json.encode(record(number)), number, 0, now=0.0)
        if write is full:
            with pytest.raises(FrameLostError, match="1 records not written"):
                writer.flush()
        else:
            writer.flush()
    writer.close()
    log = read_pairs(tmp_path)
    assert [each.sequence for each in log] == [0, 2]
    assert (log.health.missing, log.health.torn) == (1, [])


@pytest.mark.parametrize(
    ("location", "experiment", "reason"),
    [("nowhere", None, "nothing there"), ("", "other", "only test"), ("ftp://host/x", None, "no such kind of place")],
)
def test_a_location_that_cannot_be_read_is_told(
    tmp_path: Path, location: str, experiment: str | None, reason: str
) -> None:
    log_of(tmp_path, [record(0)])
    where = location if "://" in location else tmp_path / location
    with pytest.raises(PairLogError, match=reason):
        read_pairs(where, experiment)


def test_stats_counts_by_arm_and_outcome_and_names_problems(tmp_path: Path) -> None:
    log_of(tmp_path, [record(number) for number in range(10)], numbered=12)
    result = CliRunner().invoke(pairs, ["stats", str(tmp_path), "--json"])
    document = msgspec.json.decode(result.output)
    assert document["arms"]["shadow"]["outcomes"] == {"arm_timeout": 2, "paired": 8}
    assert document["arms"]["shadow"]["primary_status"] == {"200": 10}
    assert document["problems"][0].startswith("2 records are missing")
    plain = CliRunner().invoke(pairs, ["stats", tmp_path.as_uri()])
    assert "shadow: 10 records" in plain.output
    assert "2 records are missing" in plain.output


def test_show_and_tail_print_records_and_a_bad_location_is_one_line(tmp_path: Path) -> None:
    log_of(tmp_path, [record(number) for number in range(10)], numbered=10)
    shown = CliRunner().invoke(pairs, ["show", str(tmp_path), "r3", "--json"])
    assert msgspec.json.decode(shown.output, type=PairRecord) == record(3)
    assert CliRunner().invoke(pairs, ["show", str(tmp_path), "r99"]).exit_code == 2
    tail = CliRunner().invoke(pairs, ["tail", str(tmp_path), "-n", "2"])
    assert ("r8" in tail.output, "r9" in tail.output, "r7" in tail.output) == (True, True, False)
    bad = CliRunner().invoke(pairs, ["stats", str(tmp_path / "nowhere")])
    assert bad.exit_code == 2
    assert len(bad.output.strip().splitlines()) == 1


def test_exposures_and_pairs_share_one_sequence_and_are_read_apart(tmp_path: Path) -> None:
    lines = [record(0), exposure(1), record(2), exposure(3, served="primary"), exposure(4, served="")]
    log_of(tmp_path, lines[:2], lines[2:], numbered=5)
    pairs_only, exposures_only = read_pairs(tmp_path, "test"), read_exposures(tmp_path, "test")
    assert list(pairs_only) == [lines[0], lines[2]]
    assert list(exposures_only) == [lines[1], lines[3], lines[4]]
    assert (pairs_only.health.records, pairs_only.health.other_kind) == (2, 3)
    assert (exposures_only.health.records, exposures_only.health.other_kind) == (3, 2)
    assert pairs_only.health.problems() == exposures_only.health.problems() == []
    assert pairs_only.health.complete


def test_the_same_is_wrong_with_an_exposure_as_with_a_pair(tmp_path: Path) -> None:
    bad = [exposure(1), exposure(5, incarnation="two"), exposure(7, version=9), exposure(-1)]
    log_of(tmp_path, [exposure(0), exposure(1), record(4), *bad], numbered=9)
    for log in (read_pairs(tmp_path), read_exposures(tmp_path)):
        assert [each.sequence for each in log] in ([0, 1], [4])
        health = log.health
        assert (health.duplicates, health.foreign, health.unknown_schema, health.undecodable) == (1, 1, 1, 1)
        assert health.missing == 9 - len({0, 1, 4, 7})


VERSION_1 = (
    b'{"record":"pair","schema_version":1,"request_id":"r0","experiment":"test","incarnation":"one","sequence":0,'
    b'"arrival_us":5,"event_time_us":6,"method":"GET","target":"/recommend?user_id=aa","unit":"aa","bucket":7,'
    b'"arm":"shadow","outcome":"paired","primary":{"version":"v1","status":200,"body":"{}"},'
    b'"arm_answer":{"version":"v2","status":200,"upstream_us":9,"body":"{}"}}'
)
"""A line as a router of schema version 1 wrote it."""


def test_a_log_of_version_1_is_still_read(tmp_path: Path) -> None:
    directory = tmp_path / "test" / "one"
    writer = SegmentWriter(directory, 0, now=0.0)
    writer.append(VERSION_1, 0, 6, now=0.0)
    writer.flush()
    entry = writer.close()
    assert entry is not None
    manifest = (
        f'{{"schema_version":1,"experiment":"test","incarnation":"one","router":"here","started_us":0,"complete":true,'
        f'"records":1,"segments":[{msgspec.json.encode(entry).decode()}]}}'
    )
    (directory / "manifest.json").write_text(manifest)
    log = read_pairs(tmp_path)
    [found] = log
    assert (found.schema_version, found.request_bytes, found.arm, found.outcome) == (1, 0, "shadow", "paired")
    assert found.arm_answer == Answer(version="v2", status=200, upstream_us=9, body="{}")
    assert log.health.problems() == []
    assert log.health.complete
    assert list(read_exposures(tmp_path)) == []


def test_the_commands_tell_exposures_beside_pairs(tmp_path: Path) -> None:
    log_of(tmp_path, [record(0), exposure(1), exposure(2, served="primary"), exposure(3, served="")], numbered=4)
    document = msgspec.json.decode(CliRunner().invoke(pairs, ["stats", str(tmp_path), "--json"]).output)
    assert document["exposures"] == {"shadow": {"shadow": 1, "primary": 1, "": 1}}
    assert (document["health"]["other_kind"], document["problems"]) == (3, [])
    plain = CliRunner().invoke(pairs, ["stats", str(tmp_path)]).output
    assert "assigned to shadow: 3 exposures" in plain
    assert "(nobody)" in plain
    shown = CliRunner().invoke(pairs, ["show", str(tmp_path), "r2", "--json"]).output
    assert msgspec.json.decode(shown, type=Exposure) == exposure(2, served="primary")
    assert "r0" in CliRunner().invoke(pairs, ["tail", str(tmp_path)]).output


def test_what_the_shipper_gave_up_is_told_apart_from_loss(tmp_path: Path) -> None:
    directory = log_of(tmp_path, [record(0), record(1)], [record(9)], numbered=10)
    whole = msgspec.json.decode((directory / "manifest.json").read_bytes(), type=Manifest)
    drops = (
        SpoolDrop(reason="oldest", records=3, bytes=900, first_sequence=2, last_sequence=4),
        SpoolDrop(reason="disk", records=2, bytes=0, first_sequence=5, last_sequence=7),
    )
    (directory / "manifest.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(whole, drops=drops)))
    log = read_pairs(tmp_path)
    assert len(list(log)) == 3
    assert (log.health.missing, log.health.dropped_by_shipper) == (7, 5)
    assert [text.split(" (")[0] for text in log.health.problems()] == [
        "2 records are missing: numbered by the router, never seen here",
        "5 records were dropped by the shipper: its spool was full or its disk refused",
    ]
