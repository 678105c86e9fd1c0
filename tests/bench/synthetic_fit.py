"""Made-up data beside MovieLens: `python -m tests.bench.synthetic_fit`; draws docs/synthetic.svg.

The laws that might be (maximum likelihood, cut off below where the data is), with their Kolmogorov–Smirnov distances;
then counts, lengths of vectors, stars and pauses of MovieLens-1M, of synthetic data of its size, and of 30 million
interactions. Nothing here is evaluated on the test period.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from training.data_set import DataSet
from training.evaluate import average_precisions
from training.ials import IalsSettings, fit
from training.interactions import Interactions
from training.movielens import PUBLISHED
from training.popularity import family_scores
from training.settings import TrainingSettings
from training.split import split_by_time
from training.synthetic import SyntheticSettings, World
from training.synthetic_source import of_fit
from training.synthetic_vectors import Vectors
from training.task import Task, rank_by_factors, rank_by_popularity

PLOT = Path(__file__).parents[2] / "docs" / "synthetic.svg"
LAWS: dict[str, Callable[[NDArray[np.float64]], object]] = {
    "stretched exponential": lambda p: stats.weibull_min(np.exp(p[0]), scale=np.exp(p[1])),
    "log-normal": lambda p: stats.lognorm(np.exp(p[0]), scale=np.exp(p[1])),
    "gamma": lambda p: stats.gamma(np.exp(p[0]), scale=np.exp(p[1])),
    "power law": lambda p: stats.lomax(np.exp(p[0]), scale=np.exp(p[1])),
}


def real(name: str) -> Interactions:
    cache = TrainingSettings.load().data_dir
    return DataSet.read(cache / name, cache, PUBLISHED[name].digest).interactions


def counts(rows: NDArray[np.int32]) -> NDArray[np.int64]:
    found = np.bincount(rows)
    return found[found > 0]


def propensities(table: Interactions) -> tuple[NDArray[np.float64], float]:
    """θ of every item for which Σ_u 1 − exp(−θ a_u) is its count, a being activity over its mean; and θ of half."""
    activity = counts(table.user) / counts(table.user).mean()
    grid = np.exp(np.linspace(-14, 6, 4_000))
    expected = np.log([(1 - np.exp(-theta * activity)).sum() for theta in grid])
    found = np.exp(np.interp(np.log([0.5, *counts(table.item)]), expected, np.log(grid)))
    return found[1:], float(found[0])


def fits(title: str, values: NDArray[np.float64], floor: float) -> None:
    """Print a row for every law."""
    distinct, first = np.unique(np.sort(values), return_index=True)
    # Ranks in the middle of their ties.
    empirical = (first + np.append(first[1:], len(values))) / 2 / len(values)
    for name, law in LAWS.items():

        def surprise(p: NDArray[np.float64], law: Callable = law) -> float:
            found = -(law(p).logpdf(values) - law(p).logsf(floor)).sum()
            return float(found) if np.isfinite(found) else 1e12

        best = optimize.minimize(
            surprise, [-0.3, np.log(values.mean())], method="Nelder-Mead", options={"maxiter": 4000}
        )
        chosen = law(best.x)
        distance = np.abs(1 - chosen.sf(distinct) / chosen.sf(floor) - empirical).max()
        largest = chosen.isf(chosen.sf(floor) / len(values) / 2) / values.mean()
        shape = f"{np.exp(best.x[0]):.2f}, {floor / np.exp(best.x[1]):.2g}"
        print(f"| {title} | {name} | {shape} | {distance:.3f} | {largest:,.0f} | {values.max() / values.mean():,.0f} |")


@dataclass(frozen=True)
class Seen:
    """What is compared."""

    name: str
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    lengths: NDArray[np.float64]
    stars: NDArray[np.float64]
    pauses: NDArray[np.float64]


def seen_of(name: str, parts: list[Interactions], vectors: Vectors) -> Seen:
    """Sums over `parts`, of which each has whole users."""
    items = sum(np.bincount(part.item, minlength=len(vectors.items)) for part in parts)
    stars = sum(np.bincount(part.rating.astype(int), minlength=6)[1:6] for part in parts)
    pauses = []
    for part in parts[:20]:
        order = np.lexsort((part.timestamp_us, part.user))
        same = np.diff(part.user[order]) == 0
        pauses.append(np.diff(part.timestamp_us[order])[same] / 1e6)
    lengths = np.linalg.norm(vectors.items, axis=1)
    return Seen(
        name,
        np.sort(np.concatenate([counts(part.user - part.user.min()) for part in parts])),
        np.sort(items[items > 0]),
        lengths[lengths > 0],
        stars / stars.sum(),
        np.concatenate(pauses),
    )


def made(name: str, settings: SyntheticSettings, trained: Vectors) -> tuple[Seen, list[Interactions]]:
    world = World.of(settings, trained)
    names = [str(row) for row in range(settings.users)], [str(row) for row in range(settings.items)]
    parts = [
        Interactions(*names, part.user, part.item, part.rating, part.timestamp_us)
        for part in world.parts(TrainingSettings.load().torch_threads)
    ]
    return seen_of(name, parts, world.vectors), parts


def row(title: str, tell: Callable[[Seen], str], all_: list[Seen]) -> None:
    print(f"| {title} | " + " | ".join(tell(each) for each in all_) + " |")


def told_counts(values: NDArray[np.int64]) -> str:
    numbers = [np.median(values), *np.quantile(values, [0.9, 0.99]), values.max()]
    return " · ".join(f"{number / values.mean():.2f}" for number in numbers)


def gini(values: NDArray[np.int64]) -> float:
    ranks = np.arange(1, len(values) + 1)
    return float((2 * ranks - len(values) - 1) @ values / (len(values) * values.sum()))


def distances(seen: Seen, real: Seen) -> str:
    """Of counts of users and films; nothing when the sizes differ."""
    if len(seen.users) != len(real.users):
        return "–"
    pairs = ((seen.users, real.users), (seen.items, real.items))
    return " · ".join(f"{stats.ks_2samp(*pair).statistic:.3f}" for pair in pairs)


def compare(all_: list[Seen]) -> None:
    """Print the second table."""
    print("\n| | " + " | ".join(each.name for each in all_) + " |\n|---|" + "---|" * len(all_))
    row("ratings", lambda s: f"{s.users.sum():,}", all_)
    row("users, films with a rating", lambda s: f"{len(s.users):,} · {len(s.items):,}", all_)
    row("ratings of a user over their mean: median, 90 %, 99 %, most", lambda s: told_counts(s.users), all_)
    row("ratings of a film over their mean: median, 90 %, 99 %, most", lambda s: told_counts(s.items), all_)
    row("Gini of users, of films", lambda s: f"{gini(s.users):.2f} · {gini(s.items):.2f}", all_)
    row("Kolmogorov–Smirnov distance to MovieLens-1M: users, films", lambda s: distances(s, all_[0]), all_)
    row("length of an item vector: 10 %, 50 %, 90 %, 99 %",
        lambda s: " · ".join(f"{q:.2f}" for q in np.quantile(s.lengths, [0.1, 0.5, 0.9, 0.99])), all_)  # fmt: skip
    row("1 to 5 stars, %", lambda s: " · ".join(f"{100 * share:.1f}" for share in s.stars), all_)
    row("pauses: none, over half an hour, %",
        lambda s: f"{100 * (s.pauses == 0).mean():.1f} · {100 * (s.pauses > 1_800).mean():.1f}", all_)  # fmt: skip


def learnable(name: str, table: Interactions) -> None:
    """MAP@10 on the validation slice, of warm users: is there anything to learn, and is it too much?"""
    split = split_by_time(table)
    task = Task.of(split.train, split.validation)
    warm = sorted(task.warm)
    family = family_scores(split.train, split.validation_from_us)
    best = max(
        float(average_precisions(rank_by_popularity(task, scores, warm), task, warm).mean())
        for scores in family.values()
    )
    factors = fit(split.train, IalsSettings(), TrainingSettings.load().torch_threads)
    ranking = rank_by_factors(task, factors.users, factors.items, task.liked_by.astype(float), warm)
    ours = float(average_precisions(ranking, task, warm).mean())
    print(f"| {name} | {len(warm):,} | {best:.4f} | {ours:.4f} | {ours / best - 1:+.0%} |")


def plot(all_: list[Seen]) -> None:
    """Three panels, all as shares of their means, so that sizes can be compared."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "understudy", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(10.5, 3.4), layout="constrained")
    drawn = [
        ("ratings of a film, over the mean", "rank among films", lambda s: s.items / s.items.mean()),
        ("ratings of a user, over the mean", "rank among users", lambda s: s.users / s.users.mean()),
        ("length of an item vector", "rank among items", lambda s: np.sort(s.lengths)),
    ]
    for panel, (title, under, value) in zip(panels, drawn, strict=True):
        for seen, style in zip(all_, ("k-", "C0--", "C1:"), strict=True):
            values = value(seen)[::-1]
            rows = np.unique(np.geomspace(1, len(values), 60).astype(int)) - 1
            panel.loglog((rows + 0.5) / len(values), values[rows], style, label=seen.name)
        panel.set(title=title, xlabel=f"{under}, over their number")
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].legend(loc="lower left", frameon=False)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Print the tables, draw the plot."""
    one, small = real("ml-1m"), real("ml-latest-small")
    print("| what | law | shape, floor over scale | KS distance | largest over mean: law | in the data |")
    print("|---|---|---|---|---|---|")
    fits("ratings of a user, 1M", counts(one.user).astype(float), 19.5)
    fits("propensity of a film, 1M", *propensities(one))
    fits("propensity of a film, latest-small", *propensities(small))
    train = split_by_time(one).train
    trained, _ = of_fit(train, "MovieLens-1M", 64, TrainingSettings.load().torch_threads)
    seen = [seen_of("MovieLens-1M", [one], Vectors(trained.users, trained.items))]
    same, parts = made(
        "synthetic, its size", SyntheticSettings(users=6_040, items=3_706, interactions=1_000_209), trained
    )
    large, _ = made(
        "synthetic, 30 M", SyntheticSettings(users=1_000_000, items=100_000, interactions=30_000_000), trained
    )
    compare([*seen, same, large])
    plot([*seen, same, large])
    print("\n| validation slice | warm users | best popularity, MAP@10 | iALS-64 | lift |\n|---|---|---|---|---|")
    learnable("MovieLens-1M", one)
    names = parts[0].user_ids, parts[0].item_ids
    columns = [np.concatenate([getattr(p, each) for p in parts]) for each in ("user", "item", "rating", "timestamp_us")]
    learnable("synthetic, its size", Interactions(*names, *columns))


if __name__ == "__main__":
    main()
