"""Small file systems of their own, so that a disk can really be full, or really be read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Volume:
    """A mounted file system."""

    path: Path

    def fill(self) -> None:
        """Until not one byte more goes in."""
        with contextlib.suppress(OSError), (self.path / "ballast").open("ab", buffering=0) as ballast:
            while ballast.write(b"x" * 4096):
                pass

    @property
    def has_room(self) -> bool:
        """Whether two pages still go in."""
        probe = self.path / "probe"
        try:
            probe.write_bytes(b"x" * 5_000)
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)
        return True

    def empty(self) -> None:
        """Room again."""
        (self.path / "ballast").unlink()

    def remount(self, option: str) -> None:
        """With `rw` or `ro`."""
        _mount("-o", f"remount,{option}", str(self.path))


@contextmanager
def volume(path: Path, size: str, option: str = "rw") -> Iterator[Volume]:
    """A tmpfs of that size at `path`; skips where this user may not mount one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small file system; the stand-ins of this module run everywhere")
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={size},{option}", "tmpfs", str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here ({error})")
    try:
        yield Volume(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
