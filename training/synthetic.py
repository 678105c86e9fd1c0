"""Made-up interactions of any size, labelled synthetic: the one generator, for tests, benches and load.

Users and items have vectors (`training.synthetic_vectors`), activity and popularity (`training.synthetic_laws`), and
users draw items by both (`training.synthetic_draws`), rate them and come back (`training.synthetic_ratings`). Same
settings and vectors, same data: every part of the users has random numbers of its own. What it is good for, and what
not, stands in docs/synthetic.md. Next module: `training.synthetic_files`, which writes it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from training.errors import ConfigurationError
from training.interactions import Interactions, Movie, from_columns
from training.synthetic_draws import MOST_ITEMS, OVERSAMPLE, SAMPLE, Draws, Tastes
from training.synthetic_laws import ACTIVITY, GENTLE, activity_counts, check_counts, like_lengths, popularity_law
from training.synthetic_ratings import (
    AFFINITY,
    SESSION_HOURS,
    SESSION_SHARE,
    opinions,
    pauses,
    quality,
    stars,
    thresholds,
    times,
)
from training.synthetic_vectors import CLUSTERS, Vectors, clustered, mixed, normal, on_sphere

PART_CANDIDATES: Final = 1_000_000
"""Candidates that a thread holds at once: about 150 MB."""


class SyntheticSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to make. The same settings and the same trained vectors make the same bytes on the same machine."""

    users: Annotated[int, Meta(ge=1, le=1 << 30)]
    items: Annotated[int, Meta(ge=2, le=MOST_ITEMS)]
    interactions: Annotated[int, Meta(ge=1)]
    norms: Literal["als", "lognormal", "gaussian"] = "als"
    """Of the vectors; `als` needs trained ones."""
    dimension: Annotated[int, Meta(ge=1, le=1024)] = 64
    seed: Annotated[int, Meta(ge=0)] = 1
    days: Annotated[float, Meta(gt=0, le=36_500)] = 1_096
    """From the first possible rating to the last."""
    affinity: Annotated[float, Meta(ge=0, le=10)] = 1.5
    """How much choices follow tastes: the standard deviation of the logarithm of the odds.

    1.5 leaves iALS about as much to learn as MovieLens-1M does (docs/synthetic.md).
    """
    affinity_in_ratings: Annotated[float, Meta(ge=0, le=0.6)] = AFFINITY
    """How much ratings do: their share of the variance."""
    session_share: Annotated[float, Meta(ge=0, le=1)] = SESSION_SHARE
    """Of the pauses between a user's ratings, those that begin a session."""
    session_hours: Annotated[float, Meta(gt=0)] = SESSION_HOURS
    """Median of these pauses."""
    clusters: Annotated[int, Meta(ge=1)] = CLUSTERS
    """Of `lognormal`: row r of users and items belongs to cluster r mod clusters."""
    small: bool = False
    """For tables of a few hundred rows: every user has the same number of interactions, and no item is very rare."""

    def __post_init__(self) -> None:
        check_counts(self.users, self.items, self.interactions)


@dataclass(frozen=True)
class Part:
    """Interactions of some users, one user after the other and in the order of time; arrays as of `Interactions`."""

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32]
    timestamp_us: NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Who and what there is: `counts` (users,) interactions, what is drawn from, how good items, how mild users are.

    `fit` (mean and standard deviation of the affinity between users and what they draw) and `thresholds` (of stars)
    are taken from some users' draws.
    """

    settings: SyntheticSettings
    vectors: Vectors
    counts: NDArray[np.int64]
    draws: Draws
    quality: NDArray[np.float32]
    mildness: NDArray[np.float32]
    fit: tuple[np.float32, np.float32]
    thresholds: NDArray[np.float32]

    @staticmethod
    def of(settings: SyntheticSettings, trained: Vectors | None = None) -> World:
        """`trained`: vectors of a fitted model, for `als`; `ConfigurationError` without them."""
        rng = np.random.default_rng([settings.seed, 0])
        vectors = vectors_of(settings, trained, rng)
        activity, popular = (None, GENTLE) if settings.small else (ACTIVITY, popularity_law(settings.items))
        ascending = activity_counts(activity, settings.users, settings.items, settings.interactions)
        popularity = popular.quantiles(settings.items)[like_lengths(vectors.items, rng)]
        counts = ascending[like_lengths(vectors.users, rng)]
        tastes = Tastes.of(vectors.users, vectors.items, settings.affinity, rng)
        active = np.searchsorted(np.cumsum(counts), rng.integers(0, settings.interactions, SAMPLE), side="right")
        draws = Draws.of(popularity, tastes, tastes.of_users(vectors.users[active]))
        good, mild = quality(popularity, rng), rng.standard_normal(settings.users, dtype=np.float32)
        some = rng.integers(0, settings.users, SAMPLE)
        item, affinity = _drawn(draws, tastes.of_users(vectors.users[some]), counts[some], rng)
        fit = affinity.mean(), affinity.std() or np.float32(1)
        anybody = rng.standard_normal(len(item), dtype=np.float32)
        thought = opinions(good[item], anybody, (affinity - fit[0]) / fit[1], settings.affinity_in_ratings, rng)
        return World(settings, vectors, counts, draws, good, mild, fit, thresholds(thought))

    def parts(self, threads: int) -> Iterator[Part]:
        """All interactions in parts of bounded size, ascending by user; `threads` work ahead."""
        candidates = np.cumsum(OVERSAMPLE * self.counts)
        number = (candidates - 1) // PART_CANDIDATES
        cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(number)]
        waiting: deque[Future[Part]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="synthetic") as pool:
            try:
                for first, last in itertools.pairwise(cuts):
                    waiting.append(pool.submit(self._part, first, last))
                    if len(waiting) > threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for each in waiting:
                    each.cancel()

    def _part(self, first: int, last: int) -> Part:
        """The interactions of the users from `first` to before `last`."""
        rng = np.random.default_rng([self.settings.seed, 1, first])
        counts = self.counts[first:last]
        item, affinity = _drawn(self.draws, self.draws.tastes.of_users(self.vectors.users[first:last]), counts, rng)
        user = np.repeat(np.arange(first, last, dtype=np.int32), counts)
        fits, share = (affinity - self.fit[0]) / self.fit[1], self.settings.affinity_in_ratings
        thought = opinions(self.quality[item], self.mildness[user], fits, share, rng)
        return Part(user, item, stars(thought, self.thresholds), self._times(counts, rng))

    def _times(self, counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        waits = pauses(int(counts.sum()), self.settings.session_share, self.settings.session_hours, rng)
        return times(waits, counts, self.settings.days, rng)


def _drawn(
    draws: Draws, tastes: NDArray[np.float32], counts: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The items that users with `tastes` draw, and their affinity with them."""
    item = draws.draw(tastes, counts, rng)
    return item, draws.tastes.affinity(tastes, np.repeat(np.arange(len(counts)), counts), item)


def vectors_of(settings: SyntheticSettings, trained: Vectors | None, rng: np.random.Generator) -> Vectors:
    """The vectors of `settings.norms`. `ConfigurationError` when `als` has no trained ones of the dimension."""
    users, items, dimension = settings.users, settings.items, settings.dimension
    if settings.norms == "als":
        if trained is None or trained.items.shape[1] != dimension:
            raise ConfigurationError(f"norms als: trained vectors of {dimension} dimensions are needed")
        return Vectors(mixed(trained.users, users, rng), mixed(trained.items, items, rng))
    if settings.norms == "lognormal":
        centres = on_sphere(settings.clusters, dimension, rng)
        return Vectors(clustered(centres, users, rng), clustered(centres, items, rng))
    return Vectors(normal((users, dimension), rng), normal((items, dimension), rng))


def synthetic_interactions(
    seed: int, users: int = 200, items: int = 120, per_user: int = 30, days: float = 40, groups: int = 4
) -> Interactions:
    """A small table for tests: users u0… and items i0… of `groups` tastes, group = number mod groups."""
    settings = SyntheticSettings(
        users=users,
        items=items,
        interactions=users * min(per_user, items // 2),
        norms="lognormal",
        dimension=16,
        seed=seed,
        days=days,
        affinity=2.0,
        affinity_in_ratings=0.5,
        session_share=0.4,
        session_hours=1.5,
        clusters=groups,
        small=True,
    )
    parts = list(World.of(settings).parts(threads=1))
    user, item, rating, times = (
        np.concatenate([getattr(part, field) for part in parts]) for field in Part.__dataclass_fields__
    )
    names = np.char.add("u", user.astype(np.str_)), np.char.add("i", item.astype(np.str_))
    return from_columns(*names, rating, times)


def synthetic_movies(interactions: Interactions) -> dict[str, Movie]:
    """A title, a genre and a year for every item."""
    return {item: Movie(f"Film {item}", (f"Genre {int(item[1:]) % 4}",), 1990) for item in interactions.item_ids}
