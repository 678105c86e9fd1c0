"""`understudy pairs`: what people see of a log, and what the commands do to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from shadow.contracts import Answer, Exposure, PairRecord
from shadow.pairs_cli import pairs
from shadow.pairs_tail import PATIENCE, Tail
from shadow.rehearsal import command
from shadow.segment_writer import SegmentWriter
from shadow.segments import PairLogError, read_pairs
from shadow.units import unit_of
from tests.shadow import written

KEY = "a key for tests only, 32 bytes.."


def run(*arguments: object, **others: object) -> Result:
    return CliRunner().invoke(pairs, [str(each) for each in arguments], **others)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    answer = Answer(version="champion:1", status=200, upstream_us=4_000, body='{"items":[{"id":1},{"id":2}],"k":10}')
    other = msgspec.structs.replace(answer, version="challenger:2", body='{"items":[{"id":1},{"id":3}],"k":10}')
    lines = [
        written.pair(0, primary=answer, arm_answer=other),
        written.pair(1, arm_answer=None, outcome="dropped:queue_full"),
        written.exposure(2),
        written.exposure(3, served="", status=0, version="", error="timeout"),
    ]
    written.incarnation(tmp_path / "log", lines)
    return tmp_path / "log"


def test_show_puts_both_answers_side_by_side_and_marks_what_differs(log: Path) -> None:
    lines = run("show", log, "one-0").output.splitlines()
    marked = [line.split() for line in lines if "≠" in line]
    assert marked == [["version", "champion:1", "≠", "challenger:2"], ['"id":', "2", "≠", '"id":', "3"]]
    assert any(line.split() == ['"k":', "10", '"k":', "10"] for line in lines)
    assert len({line.index("≠") for line in lines if "≠" in line}) == 1


def test_show_tells_an_answer_that_never_came_and_an_exposure(log: Path) -> None:
    assert "(no answer)" in run("show", log, "one-1").output
    exposed = run("show", log, "one-2").output
    assert "exposed: answered by shadow, 200 challenger:2" in exposed
    assert msgspec.json.decode(exposed.splitlines()[1], type=Exposure) == written.exposure(2)
    nothing = run("show", log, "one-9")
    assert (nothing.exit_code, nothing.output.strip()) == (2, f"error: {log}: no record of request 'one-9'")


def test_show_survives_a_body_of_any_kind(tmp_path: Path) -> None:
    bodies = ("[" * 100_000, "\x1b[31m\x00", "x" * 5_000, "\n" * 1_000, '"just text"', "")
    records = [written.pair(n, primary=Answer(version="v", status=200, body=body)) for n, body in enumerate(bodies)]
    written.incarnation(tmp_path, records)
    for number in range(len(bodies)):
        shown = run("show", tmp_path, f"one-{number}")
        assert shown.exit_code == 0
        assert len(shown.output.splitlines()) < 400
        assert "\x1b" not in shown.output


def test_tail_shows_pairs_and_exposures_one_a_line(log: Path) -> None:
    lines = run("tail", log, "-n", "3").output.splitlines()
    assert ["one-1" in lines[0], "exposed: answered by shadow" in lines[1], "(nobody), timeout" in lines[2]] == [
        True
    ] * 3
    kinds = PairRecord | Exposure
    decoded = [msgspec.json.decode(line, type=kinds) for line in run("tail", log, "--json").output.splitlines()]
    assert [each.sequence for each in decoded] == [0, 1, 2, 3]


def test_stats_is_aligned_and_says_the_watermark(log: Path) -> None:
    output = run("stats", log).output
    counted = [line for line in output.splitlines() if re.search(r"  \d+$", line)]
    assert len(counted) == 6
    assert len({len(line) for line in counted}) == 1
    assert "watermark: arrivals to 2024-10-04 00:00:03.000" in output
    document = msgspec.json.decode(run("stats", log, "--json").output)
    assert document["watermark"]["live"] == []
    assert document["exposures"] == {"shadow": {"shadow": 1, "": 1}}


def test_stats_says_since_when_a_routers_drops_are_unknown_and_not_none(tmp_path: Path) -> None:
    written.incarnation(tmp_path, [written.pair(0, "one")], dropped=0)
    assert "dropped by routers: 0, as they said last" in run("stats", tmp_path).output
    assert "unknown since" not in run("stats", tmp_path).output
    records = [written.pair(number, "two") for number in (0, 1, 4)]
    written.incarnation(tmp_path, records, complete=False, numbered=-1)
    output = run("stats", tmp_path).output
    assert "  test/two: unknown since 2024-10-04 00:00:00.000 (UTC)" in output
    assert "2 records are missing of routers that never said goodbye: lost, or dropped by them and not told" in output
    document = msgspec.json.decode(run("stats", tmp_path, "--json").output)
    assert document["health"]["drops_unknown"] == {"test/two": written.START_US}


def test_stats_says_until_when_the_drops_of_a_router_are_known_that_never_said_goodbye(tmp_path: Path) -> None:
    """Of the four below seven it dropped three; of the one behind nobody knows."""
    records = [written.pair(number) for number in (0, 1, 4, 8)]
    told = {"numbered": 7, "dropped": 3, "told_us": written.START_US + 9_000_000}
    directory = written.incarnation(tmp_path, records, complete=False, numbered=-1)
    written.write_manifest(directory, msgspec.structs.replace(written.manifest_of(directory), **told))
    output = run("stats", tmp_path).output
    assert "dropped by routers: 3, as they said last" in output
    assert "  test/one: known until 2024-10-04 00:00:09.000 (UTC)" in output
    assert "unknown since" not in output
    health = msgspec.json.decode(run("stats", tmp_path, "--json").output)["health"]
    assert health["drops_known"] == {"test/one": written.START_US + 9_000_000}
    assert [health[name] for name in ("missing", "dropped_before_shipping", "undetermined", "lost")] == [5, 3, 1, 1]


def routers_with_keys(root: Path, **key_ids: str) -> None:
    for name, key_id in key_ids.items():
        written.incarnation(root, [written.pair(number, name) for number in range(3)], key_id=key_id)


def test_stats_says_of_one_experiment_with_two_unit_keys_that_its_users_are_counted_twice(tmp_path: Path) -> None:
    routers_with_keys(tmp_path, one="0badcafe", two="0badcafe", three="deadbeef", four="")
    output = run("stats", tmp_path).output
    assert "unit keys of test: 0badcafe (2 routers), deadbeef (1 router)" in output
    assert (
        "  ! test: 2 unit keys, so its users are counted once under each: "
        "0badcafe (test/one, test/two), deadbeef (test/three). See docs/pair-log.md, Two keys"
    ) in output
    document = msgspec.json.decode(run("stats", tmp_path, "--json").output)
    assert document["health"]["key_ids"] == {
        "test/one": "0badcafe",
        "test/two": "0badcafe",
        "test/three": "deadbeef",
    }
    assert len(document["problems"]) == 1


def test_one_key_and_routers_that_do_not_tell_theirs_are_no_problem(tmp_path: Path) -> None:
    routers_with_keys(tmp_path, one="0badcafe", two="0badcafe", three="")
    log = read_pairs(tmp_path)
    assert len(list(log)) == 9
    assert log.health.problems() == []


def test_another_key_for_another_experiment_is_no_problem(tmp_path: Path) -> None:
    routers_with_keys(tmp_path, one="0badcafe")
    records = [written.pair(number, "two", experiment="next") for number in range(3)]
    written.incarnation(tmp_path, records, key_id="deadbeef")
    log = read_pairs(tmp_path)
    assert len(list(log)) == 6
    assert log.health.problems() == []


def test_of_many_routers_with_two_keys_a_few_are_named(tmp_path: Path) -> None:
    routers_with_keys(tmp_path, **{f"r{number}": "0badcafe" for number in range(5)}, s="deadbeef")
    log = read_pairs(tmp_path)
    list(log)
    (told,) = log.health.problems()
    assert "0badcafe (test/r0, test/r1, test/r2 and 2 more), deadbeef (test/s)" in told


def test_stats_says_what_the_watermark_does_not_cover(tmp_path: Path) -> None:
    replayed = [written.pair(number, event_time_us=number) for number in range(3)]
    directory = written.incarnation(tmp_path, [*replayed, *(written.pair(n) for n in range(3, 6))], per_segment=3)
    whole = written.manifest_of(directory)
    backwards = msgspec.structs.replace(whole, complete=False, segments=whole.segments[::-1], undecided_us=1_000)
    now = time.time_ns() // 1000
    written.write_manifest(directory, msgspec.structs.replace(backwards, written_us=now))
    output = run("stats", tmp_path).output
    assert "watermark: arrivals to 2024-10-04 00:00:01.999 (UTC), event times unknown: headers told them" in output
    assert "clock set back, so earlier watermarks said too much: test/one" in output


def test_following_tells_each_record_once_whatever_becomes_of_its_segment(tmp_path: Path) -> None:
    directory = tmp_path / "test" / "one"
    records = [written.pair(number) for number in range(8)]
    writer = SegmentWriter(directory, 0, 0.0)

    def add(number: int) -> None:
        writer.append(msgspec.json.encode(records[number]), number, 0, 0.0)
        writer.flush()

    add(0)
    add(1)
    tail = Tail(tmp_path)
    assert tail.last(1) == records[1:2]
    add(2)
    with (directory / "000000000000.jsonl.zst.open").open("ab") as file:
        file.write(b"\x28\xb5\x2f\xfd half a frame")
    assert list(tail.look()) == records[2:3]
    assert list(tail.look()) == []
    add(3)  # written over the half
    writer.close()
    assert list(tail.look()) == records[3:4]
    written.segment(directory, records[4:6])
    (directory / "000000000000.jsonl.zst").unlink()
    assert list(tail.look()) == records[4:6]
    written.segment(tmp_path / "test" / "two", [written.pair(0, "two")])
    assert [each.incarnation for each in tail.look()] == ["two"]


def test_the_last_records_are_the_last_of_all_routers_and_none_is_told_again(tmp_path: Path) -> None:
    written.incarnation(tmp_path, [written.pair(number, "one") for number in range(0, 10, 2)])
    written.incarnation(tmp_path, [written.pair(number, "two") for number in range(1, 10, 2)])
    assert [each.request_id for each in Tail(tmp_path).last(3)] == ["two-7", "one-8", "two-9"]
    tail = Tail(tmp_path)
    assert tail.last(0) == []
    assert list(tail.look()) == []


def test_following_outlasts_an_empty_spool_but_not_one_that_stays_away(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, [written.pair(0)])
    tail = Tail(tmp_path)
    assert len(tail.last(5)) == 1
    for path in directory.iterdir():
        path.unlink()
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == PATIENCE - 1:
            written.segment(directory, [written.pair(1)])

    assert next(tail.coming(1.0, sleep)).sequence == 1
    for path in directory.iterdir():
        path.unlink()
    with pytest.raises(PairLogError, match="no pair log"):
        next(tail.coming(1.0, sleep))


def test_ctrl_c_ends_tail_without_a_word(log: Path) -> None:
    followed = command("pairs", "tail", log, "-f", "--seconds", "0.1", "-n", "1")
    with subprocess.Popen(followed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "one-3" in process.stdout.readline()
        written.segment(log / "test" / "two", [written.pair(0, "two")])
        assert "two-0" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")


def test_erase_by_user_id_hashes_it_with_the_key(tmp_path: Path) -> None:
    unit = unit_of(b"ann@example.org", KEY.encode())
    written.incarnation(tmp_path / "log", [written.pair(n, unit=unit if n % 2 else "f" * 32) for n in range(10)])
    (tmp_path / "out").mkdir()
    assert run("compact", tmp_path / "log", tmp_path / "out").exit_code == 0
    environment = {"UNDERSTUDY_UNIT_KEY": KEY}
    erased = run(
        "erase", tmp_path / "log", "--user-id", "-", "--compacted", tmp_path / "out", "--json",
        input="ann@example.org\n", env=environment,
    )  # fmt: skip
    assert (erased.exit_code, msgspec.json.decode(erased.output)["records"]) == (0, 5)
    assert msgspec.json.decode(erased.output)["rows"] == 5
    assert {each.unit for each in read_pairs(tmp_path / "log")} == {"f" * 32}
    again = run("erase", tmp_path / "log", "--unit", "f" * 32)
    assert again.output.startswith("5 records erased from 1 segments")
    assert "10 records erased on request" in run("stats", tmp_path / "log").output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nobody to erase: give --unit or --user-id"),
        (("--unit", "ann"), "'ann' is no unit"),
        (("--user-id", "ann"), "UNDERSTUDY_UNIT_KEY must hold a secret"),
    ],
)
def test_erase_refuses_what_it_cannot_do_in_one_line(log: Path, arguments: tuple[str, ...], told: str) -> None:
    refused = run("erase", log, *arguments, env={"UNDERSTUDY_UNIT_KEY": None})
    assert refused.exit_code == 2
    assert told in refused.output
    assert len(refused.output.strip().splitlines()) == 1


def test_erase_names_a_router_that_may_still_write_and_ends_with_1(tmp_path: Path) -> None:
    directory = written.incarnation(tmp_path, [written.pair(0)], complete=False)
    assert os.path.getmtime(directory / "manifest.json") > 0
    left = run("erase", tmp_path, "--unit", written.UNITS[0])
    assert left.exit_code == 1
    assert "test/one: may still be written to" in left.output


def test_compact_says_what_it_made_and_how_far_the_log_is_complete(log: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    made = run("compact", log, tmp_path / "out").output
    assert "4 records in 2 files" in made
    assert "1 of 1 router incarnations made anew" in made
    assert "watermark: arrivals to" in made
    assert msgspec.json.decode(run("compact", log, tmp_path / "out", "--json").output)["made"] == 0
