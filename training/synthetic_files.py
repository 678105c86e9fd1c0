"""Made-up data on disk: a directory in MovieLens' csv form, facts, and a bundle of the vectors behind it.

The directory is read by every command that takes `--data`. Its README and its mark (`training.synthetic_mark`) say in
plain words that it is synthetic, and so do the titles of its films. All is written beside its place and moved there
when it is whole; disk is asked for before. Next module: `training.data_cli`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pyarrow.parquet as pq

from analysis.lists import head_mask
from bentos.bundle import BundleManifest, write_bundle
from bentos.catalogue import catalogue_table
from bentos.staging import replacing_directory
from training.errors import DataError
from training.experiment import Experiment
from training.export import FACTS, fold_in_settings, replacing
from training.fetching import digest_of, sha256_of
from training.ials import IalsSettings
from training.interactions import Movie
from training.synthetic import SyntheticSettings, World
from training.synthetic_mark import GENERATOR, MARK, Mark, metadata
from training.synthetic_ratings import START_US
from training.synthetic_tables import Ids, Tally, Writer, facts_writer, films, films_csv, ratings_writer

FACT_BYTES: Final = 12
"""Of a row in a facts file, at most."""
FILM_BYTES: Final = 60
"""Of a film in movies.csv or in a catalogue, at most."""
Progress = Callable[[int, int], None]
README: Final = """SYNTHETIC DATA. Nobody did any of this, and no film in it exists.

Made by `understudy data synth`. Good for speed, memory and the recall of an index. Not good for saying how good a model
is: the tastes in it are those that the generator put there.

{words}

Vectors that derive from MovieLens stand under its terms: research use, no redistribution. Do not publish this data.
"""


@dataclass(frozen=True)
class Targets:
    """What is to be written; None: not."""

    data: Path | None = None
    bundle: Path | None = None
    facts: Path | None = None


def write(world: World, source: str, targets: Targets, threads: int, progress: Progress) -> BundleManifest | None:
    """Make all interactions of `world` and write what `targets` names; returns the bundle's manifest.

    `source` says where the vectors of `als` came from. `progress(done, all)` counts interactions. `DataError` when a
    place is taken, `OSError` when a disk is full; then nothing half-written is left.
    """
    mark = Mark(generator=GENERATOR, settings=msgspec.to_builtins(world.settings), source=source)
    users, items = Ids.of(world.settings.users), Ids.of(world.settings.items)
    tally = Tally(len(items.names), START_US + int(world.settings.days * 86_400_000_000))
    known, done = films(world, items), 0
    with ExitStack() as stack:
        writers: list[Writer] = [tally.add]
        if targets.data is not None:
            staging = stack.enter_context(_staged(targets.data))
            _write_about(staging, mark, items, known)
            writers.append(ratings_writer(stack.enter_context((staging / "ratings.csv").open("wb")), users, items))
        if targets.facts is not None:
            schema = FACTS.with_metadata(metadata(mark.words))
            temporary = stack.enter_context(replacing(targets.facts))
            writers.append(
                facts_writer(stack.enter_context(pq.ParquetWriter(temporary, schema, compression="zstd")), users, items)
            )
        for part in world.parts(threads):
            for each in writers:
                each(part)
            done += len(part.user)
            progress(done, world.settings.interactions)
    return _write_bundle(targets, world, mark, (users, items), known, tally) if targets.bundle else None


def _write_about(directory: Path, mark: Mark, items: Ids, known: list[Movie]) -> None:
    (directory / "README.txt").write_text(README.format(words=mark.words), encoding="utf-8")
    (directory / MARK).write_bytes(msgspec.json.format(msgspec.json.encode(mark), indent=2))
    (directory / "movies.csv").write_text(films_csv(items, known), encoding="utf-8")


def _write_bundle(
    targets: Targets, world: World, mark: Mark, ids: tuple[Ids, Ids], known: list[Movie], tally: Tally
) -> BundleManifest:
    """The vectors themselves, not fitted ones, as a bundle that can be served."""
    assert targets.bundle is not None
    experiment = Experiment(name="synthetic", about="", ials=IalsSettings(dimension=world.settings.dimension))
    users, items = ids
    catalogue = catalogue_table(
        items.names,
        [film.title for film in known],
        [film.genres for film in known],
        [film.year for film in known],
        tally.positives,
        tally.recent,
        tally.last_us,
        ~head_mask(tally.positives),
    )
    digest = ""
    if targets.data is not None:
        digest = digest_of({name: sha256_of(targets.data / name) for name in ("ratings.csv", "movies.csv")})
    return write_bundle(
        targets.bundle,
        name=experiment.name,
        item_ids=items.names,
        item_vectors=world.vectors.items,
        user_ids=users.names,
        user_vectors=world.vectors.users,
        catalogue=catalogue,
        fold_in=fold_in_settings(experiment),
        labels={"synthetic": mark.words, "data_hash": digest},
    )


@contextmanager
def _staged(directory: Path) -> Iterator[Path]:
    """A directory to fill, which then takes the place of `directory`; what cannot be whole leaves nothing.

    `DataError` when something else than made-up data is there.
    """
    taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    if taken and not (directory / MARK).is_file():
        raise DataError(f"{directory} is not empty and holds no made-up data. Choose another directory")
    with replacing_directory(directory) as staging:
        yield staging


def check_room(settings: SyntheticSettings, targets: Targets) -> None:
    """`DataError` when a disk has less room than the files may take, by an upper bound; before anything is made."""
    wanted: dict[int, tuple[Path, int]] = {}
    for path, size in needed_bytes(settings, targets).items():
        place = next(each for each in path.absolute().parents if each.exists())
        device = place.stat().st_dev
        wanted[device] = (place, wanted.get(device, (place, 0))[1] + size)
    for place, size in wanted.values():
        free = shutil.disk_usage(place).free
        if free < size:
            told = f"{size / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free"
            raise DataError(f"{place}: {told}. Free space, choose another place, or make less")


def needed_bytes(settings: SyntheticSettings, targets: Targets) -> dict[Path, int]:
    """The most that each of `targets` takes."""
    numbers = len(str(settings.users)) + len(str(settings.items))
    # A line is two ids, one digit of stars, ten of time, three commas and its end.
    rows = settings.interactions * (numbers + 15)
    vectors = 4 * settings.dimension * (settings.users + 2 * settings.items) + 12 * settings.users
    films = FILM_BYTES * settings.items
    sizes = ((targets.data, rows + films), (targets.facts, FACT_BYTES * settings.interactions))
    return {path: size for path, size in (*sizes, (targets.bundle, vectors + 2 * films)) if path is not None}
