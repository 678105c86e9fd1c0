"""A data set as every command has it: ratings that were read and cut, films, tags, and what is said of them.

Next module: `training.task`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training import run_facts
from training.errors import DataError
from training.fetching import digest_of, sha256_of
from training.interactions import Interactions, Movie
from training.layouts import NO_TAGS, Layout, Tags
from training.split import GlobalSplit, split_by_time
from training.synthetic_mark import mark_of, mark_of_titles
from training.table_cache import cached_ratings


@dataclass(frozen=True)
class DataSet:
    """Ratings, read and cut; the films; a digest of the files; the name of their directory; the tags.

    `synthetic`: what made-up data says of itself (`training.synthetic_mark`), "" for real data.
    """

    interactions: Interactions
    split: GlobalSplit
    movies: dict[str, Movie]
    digest: str
    name: str
    tags: Tags = NO_TAGS
    synthetic: str = ""

    @staticmethod
    def read(directory: Path, cache: Path, digest: str | None = None) -> DataSet:
        """Read the MovieLens files in `directory`, of any layout; `digest` is known for those that were verified.

        `DataError` for files that do not fit, and for a film that was rated and is not among the films.
        """
        layout = Layout.of(directory)
        interactions = cached_ratings(directory / layout.ratings, layout, cache)
        names = [layout.ratings, layout.items]
        tags = Tags(directory / layout.tags if layout.tags and (directory / layout.tags).is_file() else None)
        if tags.path:
            names.append(tags.path.name)
        found = digest or digest_of({name: sha256_of(directory / name) for name in names})
        movies = layout.read_items(directory / layout.items)
        _check_films(interactions, movies, directory / layout.ratings, layout.items)
        mark, name = mark_of(directory) or mark_of_titles(movies), directory.resolve().name
        return DataSet(interactions, split_by_time(interactions), movies, found, name, tags, mark)

    @property
    def logged(self) -> run_facts.LoggedData:
        """How MLflow names it."""
        all_of_it = self.interactions
        first, last = int(all_of_it.timestamp_us.min()), int(all_of_it.timestamp_us.max())
        users, items = len(all_of_it.user_ids), len(all_of_it.item_ids)
        return run_facts.LoggedData(self.name, self.digest, len(all_of_it), users, items, first, last, self.synthetic)

    @property
    def labels(self) -> dict[str, str]:
        """What bundles, runs and reports say of the data."""
        return {"data_hash": self.digest} | ({"synthetic": self.synthetic} if self.synthetic else {})

    def fitting(self, until: str) -> tuple[Interactions, int]:
        """What a model may see, and the first moment that it may not: `until` is `train` or `train+validation`."""
        if until == "train":
            return self.split.train, self.split.validation_from_us
        return self.split.before_test, self.split.test_from_us


def _check_films(interactions: Interactions, movies: Mapping[str, Movie], ratings: Path, films: str) -> None:
    """`DataError` names the first film, in the order of ids, that has ratings and no line among the films."""
    missing = [row for row, item in enumerate(interactions.item_ids) if item not in movies]
    if not missing:
        return
    lines = int((interactions.item == missing[0]).sum())
    others = f"; so are {len(missing) - 1:,} more films" if len(missing) > 1 else ""
    raise DataError(
        f"{ratings}: film {interactions.item_ids[missing[0]]!r} has {lines:,} ratings and is not in {films}{others}. "
        f"Add a line for it to {films}, or take its ratings out"
    )
