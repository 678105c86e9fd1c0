"""Old logs of a file:// destination are deleted, and nothing else ever is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shadow.router.retention import Retention

DAY = 86_400.0
NOW = 1_000 * DAY


def log(root: Path, name: str, days: float, files: tuple[str, ...] = ("manifest.json", "0.jsonl.zst")) -> Path:
    """An incarnation's directory; its newest file is so many days old, the others older."""
    directory = root / "test" / name
    directory.mkdir(parents=True)
    for number, file in enumerate(files):
        (directory / file).touch()
        os.utime(directory / file, (NOW, NOW - (days + number) * DAY))
    return directory


def test_a_log_goes_when_its_newest_file_is_old_enough_and_one_that_is_written_to_stays(tmp_path: Path) -> None:
    old, young, live = log(tmp_path, "old", 7.1), log(tmp_path, "young", 6.9), log(tmp_path, "live", 30)
    assert Retention(tmp_path, 7, NOW, 50.0).sweep(NOW, 50.0, kept={("test", "live")}) == 1
    assert [each.exists() for each in (old, young, live)] == [False, True, True]


def test_a_directory_that_is_no_log_stays(tmp_path: Path) -> None:
    other = log(tmp_path, "other", 30, files=("letter.txt",))
    assert Retention(tmp_path, 7, NOW, 0.0).sweep(NOW, 0.0, kept=set()) == 0
    assert other.exists()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 40 * DAY])
def test_after_a_jump_of_the_wall_clock_nothing_is_deleted(tmp_path: Path, jump: float) -> None:
    old = log(tmp_path, "old", 30)
    retention = Retention(tmp_path, 7, NOW, 0.0)
    assert retention.sweep(NOW + 10 + jump, 10.0, kept=set()) == 0
    assert retention.sweep(NOW + 20, 20.0, kept=set()) == 0
    assert old.exists()


def test_nothing_is_deleted_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert Retention.of(tmp_path, 0.0) is None
    assert Retention.of(None, 7.0) is None
