"""The mark of made-up data: a file beside it, and the words that go wherever the data goes.

A directory with `synthetic.json` holds nothing that anybody did. Bundles fitted on it have the label `synthetic`, runs
the tag, reports the field, and every command that reads it says so. Next module: `training.synthetic_files`, which
writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from training.errors import DataError

MARK: Final = "synthetic.json"
GENERATOR: Final = 1
"""Changes when the same settings make other data."""


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What made the data: the settings, and where vectors to start from came from."""

    generator: int
    settings: dict[str, Any]
    source: str

    @property
    def words(self) -> str:
        """One line, for labels."""
        told = " ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"SYNTHETIC, generator {self.generator}: {told}; vectors: {self.source}"


def mark_of(directory: Path) -> str:
    """The words of the mark in `directory`; "" when there is none. `DataError` when it cannot be read."""
    path = directory / MARK
    try:
        return msgspec.json.decode(path.read_bytes(), type=Mark).words
    except FileNotFoundError:
        return ""
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not the mark of made-up data ({error}). Make the data anew") from error
