"""Directories that are whole or absent, whatever ends the process that writes them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bentos.staging import NEW, OLD, replacing_directory

WRITER = """
import os, signal, sys
from pathlib import Path
from bentos.staging import replacing_directory
with replacing_directory(Path(sys.argv[1])) as staging:
    (staging / "half").write_text("written")
    print("writing", flush=True)
    sys.stdin.read()
"""


def started(place: Path) -> subprocess.Popen[str]:
    """A process that is in the middle of writing `place`."""
    command = [sys.executable, "-c", WRITER, str(place)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def write(place: Path, text: str) -> None:
    with replacing_directory(place) as staging:
        (staging / "file").write_text(text)


def broken(place: Path) -> None:
    """Writing that is interrupted."""

    def half() -> None:
        with replacing_directory(place) as staging:
            (staging / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    place = tmp_path / "data"
    write(place, "before")
    with started(place) as process:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    assert (place / "file").read_text() == "before"
    write(place, "after")
    assert names(tmp_path) == ["data"]
    assert (place / "file").read_text() == "after"


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "data"
    with started(place) as process:
        write(place, "ours")
        assert len(names(tmp_path)) == 2
        process.communicate("")
        assert process.returncode == 0
    assert names(tmp_path) == ["data"]
    assert names(place) == ["half"]


def test_what_was_moved_away_when_a_process_was_killed_is_put_back(tmp_path: Path) -> None:
    place, work = tmp_path / "data", tmp_path / f".data.{NEW}-abcd_123"
    for name in (NEW, OLD):
        (work / name).mkdir(parents=True)
    (work / OLD / "file").write_text("before")
    broken(place)
    assert names(tmp_path) == ["data"]
    assert (place / "file").read_text() == "before"


@pytest.mark.parametrize(
    "name", [f".data.{NEW}-abcd_123", f".data.{NEW}-abc", ".data-abcd_123", f".dat.{NEW}-abcd_123"]
)
def test_directories_of_others_are_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("mine")
    write(tmp_path / "data", "ours")
    assert names(tmp_path) == sorted([name, "data"])


def test_an_error_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "data"
    write(place, "before")
    broken(place)
    assert names(tmp_path) == ["data"]
    assert (place / "file").read_text() == "before"
