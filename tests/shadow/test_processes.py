"""Starting by readiness, stopping in reverse, never leaving anything behind: with real processes and real ports."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from shadow.processes import Stage, StepError, accepts, answers, ensure_ports_free
from shadow.workspace import Interrupted, interruptible

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).touch(); signal.pause()",
]
PARENT_OF_STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, pathlib;"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], start_new_session=True);"
    "pathlib.Path(sys.argv[1] + '.tmp').write_text(str(child.pid));"
    "pathlib.Path(sys.argv[1] + '.tmp').rename(sys.argv[1]); signal.pause()",
]


SLOW_TO_END = [
    sys.executable,
    "-c",
    "import signal, pathlib, sys, time\n"
    "def end(*_): pathlib.Path(sys.argv[1] + '.told').touch(); time.sleep(0.3); sys.exit(7)\n"
    "signal.signal(signal.SIGTERM, end); pathlib.Path(sys.argv[1]).touch()\n"
    "while True: signal.pause()",
]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "logs", dict(os.environ))


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie that waits for its new parent counts as ended)."""
    try:
        state = Path(f"/proc/{pid}/stat")
        if state.exists():
            return state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
        os.kill(pid, 0)
    except (ProcessLookupError, FileNotFoundError):
        return True
    return False


def test_a_process_is_stopped_when_the_block_is_left_by_an_error(stage: Stage) -> None:
    process = stage.start("sleeper", SLEEP, lambda: True).process
    with pytest.raises(RuntimeError), stage:
        raise RuntimeError("a step failed")
    assert process.returncode == -signal.SIGTERM


def test_processes_are_stopped_in_the_reverse_order_of_their_start(stage: Stage) -> None:
    with stage:
        first = stage.start("first", SLEEP, lambda: True)
        second = stage.start("second", SLEEP, lambda: True)
        order = []
        for running in (first, second):
            stop = running.stop
            running.stop = lambda name=running.name, stop=stop: (order.append(name), stop())[1]  # type: ignore[method-assign]
    assert order == ["second", "first"]


def test_a_process_that_ignores_sigterm_is_killed_after_the_deadline(stage: Stage, tmp_path: Path) -> None:
    mark = tmp_path / "ready"
    with stage:
        running = stage.start("stubborn", [*STUBBORN, str(mark)], mark.exists)
        assert running.stop(seconds=0.2) == -signal.SIGKILL


def test_the_children_of_a_stopped_process_are_stopped_too(stage: Stage, tmp_path: Path) -> None:
    mark = tmp_path / "child"
    with stage:
        stage.start("parent", [*PARENT_OF_STUBBORN, str(mark)], mark.exists)
        child = int(mark.read_text())
        stage.stop("parent")
    deadline = time.monotonic() + 10
    while not gone(child):
        assert time.monotonic() < deadline, "the child outlived its parent"


def interrupt_once(told: Path) -> threading.Thread:
    """Ctrl-C for this process as soon as the slow one was told to end."""

    def wait() -> None:
        while not told.exists():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("by_name", [True, False])
def test_a_signal_while_they_are_being_stopped_leaves_none_behind(stage: Stage, tmp_path: Path, by_name: bool) -> None:
    mark = tmp_path / "ready"
    started, threads = [], []

    def story() -> None:
        with stage:
            started.append(stage.start("first", SLEEP, lambda: True))
            started.append(stage.start("slow", [*SLOW_TO_END, str(mark)], mark.exists))
            threads.append(interrupt_once(tmp_path / "ready.told"))
            if by_name:
                stage.stop("slow")

    with interruptible(), pytest.raises(Interrupted):
        story()
    threads[0].join()
    assert [each.process.poll() for each in started] == [-signal.SIGTERM, 7]
    assert not stage.running


def test_a_process_that_ends_before_it_is_ready_is_told_with_its_last_words(stage: Stage) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such bundle')"]
    with stage, pytest.raises(StepError, match=r"(?s)service ended with code 1 .*no such bundle"):
        stage.start("service", command, lambda: False)


def test_a_process_that_is_never_ready_is_told_after_the_deadline(stage: Stage) -> None:
    with stage, pytest.raises(StepError, match="was not ready within 0 s"):
        stage.start("service", SLEEP, lambda: False, seconds=0.1)
    assert not stage.running


def test_a_process_that_died_by_itself_is_noticed(stage: Stage) -> None:
    with stage:
        running = stage.start("service", [sys.executable, "-c", "print('out of memory')"], lambda: True)
        running.process.wait(10)
        with pytest.raises(StepError, match=r"(?s)service ended with code 0.*out of memory"):
            stage.ensure_alive()


def test_stopping_what_was_never_started_is_an_error(stage: Stage) -> None:
    with pytest.raises(KeyError, match="ghost"):
        stage.stop("ghost")


def test_every_port_in_use_is_named_with_its_purpose() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [("router", taken.getsockname()[1]), ("Redis", other.getsockname()[1])]
        with pytest.raises(StepError, match=rf"{ports[0][1]} \(router\), {ports[1][1]} \(Redis\).*--port"):
            ensure_ports_free(ports)


def test_free_ports_pass_and_stay_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ensure_ports_free([("router", port)])
    ensure_ports_free([("router", port)])
    assert not accepts("127.0.0.1", port)
    assert not answers(f"http://127.0.0.1:{port}/readyz")
