"""Errors in the log: where and of which kind, never what they say."""

from __future__ import annotations

import asyncio
import errno
import logging
import subprocess
import sys

import pytest

from shadow.router.logs import Formatter, told

CANARY = "canary-one"


def fail() -> None:
    raise ValueError(CANARY)


def caught(cause: bool = True) -> BaseException:
    try:
        try:
            fail()
        except ValueError as error:
            raise KeyError(CANARY) from (error if cause else None)
    except KeyError as error:
        error.add_note(CANARY)
        return error


def test_the_whole_chain_is_told_by_place_and_type() -> None:
    text = told(caught())
    assert CANARY not in text
    assert [line for line in text.splitlines() if not line.startswith(" ")] == ["KeyError", "ValueError"]
    assert "in fail" in text
    assert "ValueError" not in told(caught(cause=False)).splitlines()


def test_what_the_system_says_of_a_file_is_told() -> None:
    text = told(OSError(errno.ENOSPC, "No space left on device", f"/{CANARY}"))
    assert text == "OSError (No space left on device)"


def test_a_chain_without_end_is_cut() -> None:
    error = ValueError()
    for _ in range(50):
        other = ValueError()
        other.__cause__, error = error, other
    assert told(error).count("ValueError") < 10


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (f"Task exception was never retrieved\nfuture: <Task exception=ValueError('{CANARY}')>", "Task exception was"),
        (f"Exception in callback Client.data_received(b'{CANARY}')", "Exception in callback Client.data_received"),
        (f"Executing <Handle f({CANARY})> took 0.2 seconds", "Executing"),
    ],
)
def test_of_asyncio_only_the_words_are_told(said: str, words: str) -> None:
    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "%s", (said,), None)
    line = Formatter("%(message)s").format(record)
    assert line.startswith(words)
    assert CANARY not in line


async def test_a_task_that_fails_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        fail()

    task = asyncio.get_running_loop().create_task(failing(), name=CANARY)
    await asyncio.wait([task])
    del task
    [record] = [each for each in caplog.records if each.name == "asyncio"]
    line = Formatter("%(message)s").format(record)
    assert CANARY not in line
    assert line.endswith("ValueError")


def test_an_error_that_ends_the_process_is_told_the_same_way() -> None:
    code = "from shadow.router.logs import log_to_stderr; log_to_stderr(); raise ValueError('canary' + '-one')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "the process ends" in done.stderr
    assert "ValueError" in done.stderr
    assert CANARY not in done.stderr
