"""Which items a made-up user rates: popularity × affinity, nobody the same item twice.

User u draws items one after the other, item i with odds θ_i · exp(a_ui − o_i) among those not drawn yet: θ is the
popularity, a the affinity, and o takes out what the affinity adds to an item over all users, so that θ stays its
popularity: o_i = log E_u [exp(a_ui) / Σ_j θ_j exp(a_uj − o_j)], by Sinkhorn's rounds. Drawing so is a race: item i
finishes at E / odds with E exponential, and the first n are drawn (Efraimidis and Spirakis, IPL 97 (2006); its
logarithm is the Gumbel trick). A user whose n is small against the catalogue races only several times n candidates,
drawn by popularity (alias method, Walker 1977), each with an E of its own at exp(a − o): a popular item is a candidate
several times, and so keeps its odds. The others race all items. Next module: `training.synthetic`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

OVERSAMPLE: Final = 4
"""Candidates per interaction of a user who does not race all items."""
ITEM_BITS: Final = 20
TIME_BITS: Final = 24
MOST_ITEMS: Final = 1 << ITEM_BITS
"""Items and finishing times share whole numbers of 64 bits, for those sort fastest."""
BLOCK: Final = 4_096
"""Pairs, or items, that are computed at once: they stay in the processor's cache."""
SAMPLE: Final = 1_000
"""Users over whom an expectation is taken."""
ROUNDS: Final = 3
"""Of Sinkhorn's; the second changes an item by a few per cent, the third by less than the sample's error."""


@dataclass(frozen=True)
class Alias:
    """Draws from a discrete law in constant time: cell i is i with `keep[i]`, else `other[i]`."""

    keep: NDArray[np.float32]
    other: NDArray[np.int32]

    @staticmethod
    def of(weights: NDArray[np.float64]) -> Alias:
        """For probabilities proportional to `weights` (n,), all above zero."""
        share = weights * (len(weights) / weights.sum())
        other = np.arange(len(weights), dtype=np.int32)
        small, large = (np.flatnonzero(mask).tolist() for mask in (share < 1, share >= 1))
        while small and large:
            poor, rich = small.pop(), large[-1]
            other[poor] = rich
            share[rich] -= 1 - share[poor]
            if share[rich] < 1:
                small.append(large.pop())
        return Alias(np.minimum(share, 1).astype(np.float32), other)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """`count` independent draws."""
        cells = rng.integers(0, len(self.keep), count, dtype=np.int32)
        return np.where(rng.random(count, dtype=np.float32) < self.keep[cells], cells, self.other[cells])


@dataclass(frozen=True)
class Tastes:
    """Affinity a_ui = x·y of vectors of one length: its standard deviation over all pairs is the strength.

    The length of a vector is popularity or activity, and so is what all users have in common: the laws give those, so
    they are no part of the taste.
    """

    user_mean: NDArray[np.float32]
    scale: np.float32
    items: NDArray[np.float32]

    @staticmethod
    def of(users: NDArray[np.float32], items: NDArray[np.float32], strength: float, rng: np.random.Generator) -> Tastes:
        """Of vectors (users, d) and (items, d)."""
        mean, tastes = users.mean(0, dtype=np.float64).astype(np.float32), _directions(items)
        some = _directions(users[rng.integers(0, len(users), SAMPLE)] - mean)
        deviation = (some @ tastes[rng.integers(0, len(items), SAMPLE)].T).std()
        return Tastes(mean, np.float32(strength / max(1e-6, deviation)), tastes)

    def of_users(self, users: NDArray[np.float32]) -> NDArray[np.float32]:
        """The x of vectors (n, d)."""
        return self.scale * _directions(users - self.user_mean)

    def affinity(
        self, tastes: NDArray[np.float32], owner: NDArray[np.integer], item: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """a of pairs: `owner` are rows of `tastes`, as `of_users` gives them; shape (pairs,)."""
        found = np.empty(len(item), np.float32)
        for first in range(0, len(item), BLOCK):
            part = slice(first, first + BLOCK)
            np.einsum("nd,nd->n", tastes.take(owner[part], 0), self.items.take(item[part], 0), out=found[part])
        return found


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: NDArray[np.float32] = np.divide(vectors, np.maximum(lengths, 1e-12), dtype=np.float32)
    return found


@dataclass(frozen=True)
class Draws:
    """What everybody draws from: θ (items,), the same as an alias table, tastes, and o (items,)."""

    popularity: NDArray[np.float64]
    alias: Alias
    tastes: Tastes
    offsets: NDArray[np.float32]

    @staticmethod
    def of(popularity: NDArray[np.float64], tastes: Tastes, sample: NDArray[np.float32]) -> Draws:
        """`sample`: tastes of users (n, d), the active ones as often as they draw, over whom E_u is taken."""
        share = popularity / popularity.sum()
        offsets = np.zeros(len(share), np.float32)
        for _ in range(ROUNDS):
            total = sum(np.exp(a - offsets[part]) @ share[part] for part, a in _blocks(tastes, sample))
            for part, a in _blocks(tastes, sample):
                offsets[part] = np.log((np.exp(a) / total[:, None]).mean(0))
        return Draws(popularity, Alias.of(popularity), tastes, offsets)

    def draw(
        self, tastes: NDArray[np.float32], counts: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """`counts[u]` distinct items for every row u of `tastes`, in the order of the race; user by user."""
        many = 2 * OVERSAMPLE * counts > len(self.popularity)
        found = np.full(int(counts.sum()), -1, np.int32)
        starts = np.cumsum(counts) - counts
        raced = np.flatnonzero(~many)
        owner, place, item = self._race_candidates(tastes, raced, counts, rng)
        found[starts[owner] + place] = item
        short = np.bincount(owner, minlength=len(counts)) < counts
        for user in np.flatnonzero(many | short):
            found[starts[user] : starts[user] + counts[user]] = self._race_all(tastes[user], int(counts[user]), rng)
        return found

    def _race_candidates(
        self, tastes: NDArray[np.float32], raced: NDArray[np.int64], counts: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(user, place in the race, item) of those of `raced`; a user with too few candidates has too few rows."""
        owner = np.repeat(raced, OVERSAMPLE * counts[raced])
        item = self.alias.draw(len(owner), rng)
        odds = np.exp(self.tastes.affinity(tastes, owner, item) - self.offsets[item])
        finish = rng.standard_exponential(len(owner), dtype=np.float32) / odds
        # The best time of every pair, then the pairs of a user by time.
        pairs = _sorted(owner, ITEM_BITS, item, TIME_BITS, _leading_bits(finish))
        best = pairs[np.diff(pairs >> TIME_BITS, prepend=-1) != 0]
        owner, item, time = best >> (ITEM_BITS + TIME_BITS), (best >> TIME_BITS) % MOST_ITEMS, best % (1 << TIME_BITS)
        race = _sorted(owner, TIME_BITS, time, ITEM_BITS, item)
        owner = race >> (ITEM_BITS + TIME_BITS)
        place = np.arange(len(race)) - np.searchsorted(owner, owner)
        drawn = place < counts[owner]
        return owner[drawn], place[drawn], race[drawn] % MOST_ITEMS

    def _race_all(self, taste: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The first `count` of all items for the user with `taste` (d,)."""
        odds = self.popularity * np.exp(self.tastes.items @ taste - self.offsets)
        finish = rng.standard_exponential(len(odds)) / odds
        first = np.argpartition(finish, count - 1)[:count]
        return first[np.argsort(finish[first], kind="stable")]


def _blocks(tastes: Tastes, sample: NDArray[np.float32]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """(items, the affinity of every user of `sample` with them)."""
    for first in range(0, len(tastes.items), BLOCK):
        part = slice(first, first + BLOCK)
        yield part, sample @ tastes.items[part].T


def _leading_bits(times: NDArray[np.float32]) -> NDArray[np.int64]:
    """`TIME_BITS` bits of positive numbers, which order as the numbers do."""
    return (times.view(np.int32) >> (31 - TIME_BITS)).astype(np.int64)


def _sorted(
    high: NDArray[np.integer], middle_bits: int, middle: NDArray[np.integer], low_bits: int, low: NDArray[np.integer]
) -> NDArray[np.int64]:
    """The three as one whole number, sorted: no sort of indices is as fast."""
    packed = high.astype(np.int64) << (middle_bits + low_bits)
    packed |= middle.astype(np.int64) << low_bits
    packed |= low
    packed.sort()
    return packed
