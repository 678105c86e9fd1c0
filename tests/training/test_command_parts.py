"""What the room's commands share: the peak of memory is this process's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from training.command_parts import peak_bytes

HELD = 400_000_000


def test_the_peak_counts_what_was_held_and_given_back() -> None:
    np.ones(HELD, np.uint8)
    assert peak_bytes() > HELD


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no VmHWM")
def test_a_command_does_not_inherit_the_peak_of_the_process_that_started_it() -> None:
    """As ru_maxrss would, which the kernel keeps over fork and exec."""
    held = np.ones(HELD, np.uint8)
    code = "from training.command_parts import peak_bytes; print(peak_bytes())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert 1_000_000 < int(found.stdout) < len(held)
