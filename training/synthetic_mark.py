"""The mark of made-up data: a file beside it, and the words that go wherever the data goes.

A directory with `synthetic.json` holds nothing that anybody did. Bundles fitted on it have the label `synthetic`, runs
the tag, reports the field, and every command that reads it says so. Next module: `training.synthetic_files`, which
writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from training.errors import DataError
from training.interactions import Movie

MARK: Final = "synthetic.json"
GENERATOR: Final = 1
"""Changes when the same settings make other data."""


FILM: Final = "Synthetic film"
"""The titles of made-up films begin with it."""


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


def metadata(synthetic: str) -> dict[str, str] | None:
    """What a Parquet file says of its data beside its columns: the words of the mark; None for real data."""
    return {"synthetic": synthetic} if synthetic else None


def mark_of_titles(movies: Mapping[str, Movie]) -> str:
    """What the titles say when the mark got lost, in a copy of the ratings and films alone; "" for real films."""
    if movies and all(movie.title.startswith(f"{FILM} ") for movie in movies.values()):
        return f"SYNTHETIC, by the titles of its films; {MARK}, which told how it was made, is not beside them"
    return ""
