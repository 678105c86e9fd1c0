"""What diversity, recency and a place for the tail cost and bring: `python -m tests.bench.ranking_pareto`.

Five rolling origins before the test period. At each the champion is fitted and exported, and its bundle's candidates
are ranked by `bentos.ranking` with every combination of the weights below. MAP@10 is of the users with a vector who
come in the window. Coverage grows with the number of lists, so it is told for one number of them everywhere: as many
as the last window before the test period has users, drawn from lists of users with a vector; and for 500.

The rule was written before the test period was looked at: of the weights that lose at most 2 % of MAP@10 and show at
least 15 % of the catalogue, those with the highest MAP@10. Then these once on the test period, whatever comes out.
`--plot FILE` draws the curve as SVG.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from bentos.ranking_settings import RankingSettings, read_ranking
from tests.bench.ranking_plot import Point, draw
from tests.bench.ranking_stage import SEED, K, Row, Stage, measured
from training.data_set import DataSet
from training.evaluate import RAREFIED, lift
from training.movielens import ML_1M
from training.rolling import origins
from training.settings import TrainingSettings

ORIGINS: Final = 5
MOST_LOSS: Final = 0.02
LEAST_COVERAGE: Final = 0.15
DIVERSITY: Final = (0.0, 0.05, 0.1, 0.2, 0.3)
RECENCY: Final = (0.0, 0.05, 0.1, 0.2)
TAIL_FROM: Final = (0, 20, 50, 75, 100, 200)
"""0: no place for the tail."""
COMMITTED: Final = Path("bentos/configs/ranking.toml")


def combinations() -> list[RankingSettings]:
    """Relevance alone first."""
    return [
        RankingSettings(
            diversity=diversity, recency=recency, tail_slot=K if tail_from else 0, tail_from=tail_from or 50
        )
        for diversity, recency, tail_from in itertools.product(DIVERSITY, RECENCY, TAIL_FROM)
    ]


def choose(rows: Sequence[Row]) -> Row | None:
    """The rule of the module's docstring; `rows[0]` is relevance alone. None when no weights satisfy it."""
    allowed = [row for row in rows if row.change(rows[0])[0] >= -MOST_LOSS and row.coverage >= LEAST_COVERAGE]
    return max(allowed, key=lambda row: row.map_at_10, default=None)


def front(rows: Sequence[Row]) -> list[Row]:
    """Those than which none has more of both MAP@10 and coverage, by coverage."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row.coverage, -row.map_at_10)):
        if not best or row.map_at_10 > best[-1].map_at_10:
            best.append(row)
    return best[::-1]


def line(row: Row, base: Row, mark: str = "") -> str:
    """One line of a table."""
    change, half = row.change(base)
    settings = row.settings
    told = "" if row is base else f" ({change:+.1%} ± {half:.1%})"
    cells = (
        f"{settings.diversity:g}", f"{settings.recency:g}", f"{settings.tail_from if settings.tail_slot else '–'}",
        f"{row.map_at_10:.4f}{told}", f"{row.coverage:.3f}", f"{row.coverage_of_500:.3f}", f"{row.diversity:.3f}",
        f"{row.long_tail:.3f}", f"{row.age:.1f}",
    )  # fmt: skip
    return "| " + " | ".join(f"**{each}**" if mark else each for each in cells) + " |"


def table(title: str, rows: Sequence[Row], base: Row, chosen: Row | None, lists: int) -> None:
    """Print one table; the chosen weights are bold."""
    names = ("diversity", "recency", "tail from", "MAP@10", f"coverage of {lists:,} lists", "of 500",
             "list diversity", "long tail", "age, years")  # fmt: skip
    print(f"\n{title}\n\n| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for row in rows:
        print(line(row, base, "bold" if row is chosen else ""))


def single(row: Row) -> bool:
    """Whether one objective alone has a weight."""
    return sum(map(bool, (row.settings.diversity, row.settings.recency, row.settings.tail_slot))) == 1


def test_period(data: DataSet, settings: RankingSettings, lists: int, threads: int) -> None:
    """Once: `settings` against relevance alone."""
    stage = Stage.of(data, data.split.before_test, data.split.test, data.split.test_from_us, threads)
    base, row = (measured([stage], each, lists) for each in (RankingSettings(), settings))
    print(f"\nThe test period, once; {len(base.user):,} users with a vector, {len(stage.cold)} without.\n")
    names = ("weights", "MAP@10", "MAP@10 of the others", "coverage", "coverage of all users", f"of {lists:,} known",
             f"of {RAREFIED} known", "list diversity", "long tail", "age, years")  # fmt: skip
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    gained = lift(row.average_precision, base.average_precision, "relevance alone", SEED)
    for name, each in (("relevance alone", base), ("chosen", row)):
        told = "" if each is base else f" ({gained.relative:+.1%} [{gained.lower:+.1%}, {gained.upper:+.1%}])"
        shown = stage.lists(each.settings, list(stage.warm.values()), True)
        warm = len({item for ranked in shown for item in ranked}) / int(stage.task.candidates.sum())
        cells = (name, f"{each.map_at_10:.4f}{told}", f"{each.cold_precision:.4f}", f"{warm:.3f}",
                 f"{each.served_coverage:.3f}", f"{each.coverage:.3f}", f"{each.coverage_of_500:.3f}",
                 f"{each.diversity:.3f}", f"{each.long_tail:.3f}", f"{each.age:.1f}")  # fmt: skip
        print("| " + " | ".join(cells) + " |")


def sweep(stages: Sequence[Stage], lists: int, plot: Path | None) -> RankingSettings | None:
    """Every combination at the origins, told as tables; what the rule chooses."""
    rows = [measured(stages, each, lists) for each in combinations()]
    base, chosen = rows[0], choose(rows)
    print(f"{len(rows)} combinations of weights; {len(base.user):,} users × origins with a vector.")
    table("One objective at a time:", [base, *filter(single, rows)], base, chosen, lists)
    table("The front of MAP@10 and coverage:", front(rows), base, chosen, lists)
    if plot:
        best = front(rows)
        points = [
            Point(row.coverage, *row.change(base), row.settings, any(row is each for each in best)) for row in rows
        ]
        draw(plot, points, chosen and chosen.settings, lists, MOST_LOSS, LEAST_COVERAGE)
    sure = [row for row in rows if row.surely(base) >= -MOST_LOSS]
    most = max(sure, key=lambda row: row.coverage)
    told = f"{len(sure) - 1} of {len(rows) - 1} are within the loss; of these the most coverage is {most.coverage:.3f}"
    print(f"\nBy the lower end of the interval {told}.")
    if chosen is None:
        print(f"No weights lose at most {MOST_LOSS:.0%} and show {LEAST_COVERAGE:.0%} of the catalogue.")
        return None
    weights = {name: value for name, value in msgspec.to_builtins(chosen.settings).items()
               if value != getattr(RankingSettings(), name)}  # fmt: skip
    told = ", ".join(f"{name} = {value}" for name, value in weights.items())
    shown = f"{chosen.served_coverage:.3f} of the catalogue, {base.served_coverage:.3f} by relevance alone"
    print(f"Chosen: {told}. All users of a window, two of three without a vector, are then shown {shown}.")
    return chosen.settings


def main() -> None:
    """Print the tables, and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot", type=Path)
    plot = parser.parse_args().plot
    settings = TrainingSettings.load()
    threads = settings.torch_threads
    data = DataSet.read(settings.data_dir / ML_1M.name, settings.data_dir, ML_1M.digest)
    lists = len(np.unique(data.split.validation.user))
    stages = [
        Stage.of(data, each.before, each.window, each.cut_us, threads)
        for each in origins(data.split.before_test, ORIGINS)
    ]
    chosen = sweep(stages, lists, plot)
    if chosen is None:
        return
    if read_ranking(COMMITTED) != chosen:
        print(f"{COMMITTED} has other weights.")
    test_period(data, chosen, lists, threads)


if __name__ == "__main__":
    main()
