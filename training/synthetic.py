"""Made-up interactions with tastes and a popular head: for tests and benches, labelled as such, of any size.

Users and items have groups; a user mostly rates items of the own group, popular ones more often. Nothing real is in
it. Same arguments, same data.
"""

from __future__ import annotations

import numpy as np

from training.interactions import Interactions, Movie, from_columns

START_US = 975_000_000_000_000
DAY_US = 86_400_000_000


def synthetic_interactions(
    seed: int, users: int = 200, items: int = 120, per_user: int = 30, days: int = 40, groups: int = 4
) -> Interactions:
    """`users` × `per_user` ratings over `days`; each user appears on some days only, as people do."""
    rng = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, items + 1) ** 0.8
    user_rows, item_rows, times = [], [], []
    for user in range(users):
        liking = weight * np.where(np.arange(items) % groups == user % groups, 8.0, 1.0)
        chosen = rng.choice(items, size=min(per_user, items), replace=False, p=liking / liking.sum())
        start = START_US + int(rng.uniform(0, days) * DAY_US)
        spread = np.sort(rng.integers(0, 5 * DAY_US, len(chosen)))
        user_rows += [user] * len(chosen)
        item_rows += chosen.tolist()
        times += (start + spread).tolist()
    user_array, item_array = np.array(user_rows), np.array(item_rows)
    fits = item_array % groups == user_array % groups
    rating = np.where(fits, rng.integers(4, 6, len(fits)), rng.integers(1, 5, len(fits)))
    names = np.char.add("u", user_array.astype(np.str_)), np.char.add("i", item_array.astype(np.str_))
    return from_columns(*names, rating, np.array(times, dtype=np.int64))


def synthetic_movies(interactions: Interactions) -> dict[str, Movie]:
    """A title, a genre and a year for every item."""
    return {item: Movie(f"Film {item}", (f"Genre {int(item[1:]) % 4}",), 1990) for item in interactions.item_ids}
