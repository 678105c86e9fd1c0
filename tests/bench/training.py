"""Our models beside those of other libraries: `make bench-training`, or `python -m tests.bench.training`.

Every model reads the same split file in a process of its own and writes lists; `training.evaluate` scores them all. The
settings of the peers are those of peers/chosen.toml (`tests.bench.peer_tuning`). Rounds alternate in their order. The
test period is scored with these settings, whatever comes out; `--rehearse` asks about the last rolling origin instead,
for who changes the bench. Next module: `tests.bench.agreement`, which checks metrics and models by other people's code.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.agreement import agreement
from tests.bench.peer_tuning import CONFIGURATIONS, ORIGINS, Choice, ours, read_chosen
from tests.bench.peers.process import THREADS, Answers, Model, ask
from tests.bench.peers.split_file import Rows, split_of
from training.data_set import DataSet
from training.evaluate import Lift, PerUser, lift
from training.interactions import Interactions
from training.jobs import BOOTSTRAP_SEED
from training.movielens import ML_1M
from training.popularity import family_scores
from training.references import EASE_REGULARISATION, NEIGHBOURS, SHRINKAGE
from training.rolling import origins
from training.settings import TrainingSettings
from training.task import Ranking, Task, rank_by_popularity

TOLERATED = -0.02
"""The chosen model may be so much worse than the best peer, relatively (issue 5)."""
REFERENCES = {
    "EASE, ours": Model("ours", "EASE", {"regularisation": EASE_REGULARISATION}),
    "item-kNN, ours": Model("ours", "item-kNN", {"neighbours": NEIGHBOURS, "shrinkage": SHRINKAGE}),
}


@dataclass(frozen=True)
class Measured:
    """One model: its lists by row of the whole data, and what every round cost."""

    lists: dict[int, list[int]]
    rounds: list[Answers]

    @property
    def restless(self) -> int:
        """Users whose list is not the same in every round: a race of threads, or no seed."""
        first = self.rounds[0].lists[0]
        return int(np.any([(other.lists[0] != first).any(1) for other in self.rounds], axis=0).sum())

    def costs(self) -> str:
        """Three cells: seconds by the clock, seconds of CPU, peak memory."""
        seconds, cpu = ([float(getattr(each, name)[0]) for each in self.rounds] for name in ("seconds", "cpu"))
        peak, before = max(each.peak[0] for each in self.rounds), max(each.before for each in self.rounds)
        wall = f"{statistics.median(seconds):.1f} ({min(seconds):.1f}–{max(seconds):.1f})"
        return f"{wall} | {statistics.median(cpu):.1f} | {peak:,.0f} ({before:,.0f})"


def contestants(chosen: Mapping[str, Choice]) -> dict[str, Model]:
    """All models by name. `SystemExit` when a configuration of ours is not the one that was compared before."""
    mine = ours()
    for name, model in mine.items():
        if model != chosen[name].as_model():
            raise SystemExit(
                f"training/configs/{name}.toml is not what peers/chosen.toml was made with: "
                "'python -m tests.bench.peer_tuning' compares them again"
            )
    peers = {name: choice.as_model() for name, choice in chosen.items() if name not in mine}
    return mine | REFERENCES | peers


def measure(split: Path, rows: Rows, models: Mapping[str, Model], rounds: int) -> dict[str, Measured]:
    """Every model in every round; every second round goes backwards."""
    found: dict[str, list[Answers]] = {name: [] for name in models}
    for number in range(rounds):
        for name in list(models)[:: 1 if number % 2 == 0 else -1]:
            found[name].append(ask(split, [models[name]]))
            seconds = found[name][-1].seconds[0]
            print(f"round {number + 1} of {rounds}: {name}, {seconds:.1f} s", file=sys.stderr)
    return {name: Measured(rows.lists(each[0].lists[0]), each) for name, each in found.items()}


def table(scored: Mapping[str, PerUser], measured: Mapping[str, Measured], task: Task, first: str) -> list[str]:
    """One row per model; the last column is `first`, our chosen model, against it."""
    lines = [
        "| model | MAP@10 | nDCG@10 | recall@20 | coverage@10 | fit, s: median (range) | CPU, s "
        f"| peak memory, MB (before the fit) | {first} against it, MAP@10, 95 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in scored.items():
        numbers = each.metrics(task)
        costs = measured[name].costs() if name in measured else " | | "
        against = "" if name == first else told(against_it(scored, first, name))
        lines.append(
            f"| {name} | {numbers.map_at_10:.4f} | {numbers.ndcg_at_10:.4f} | {numbers.recall_at_20:.4f} "
            f"| {numbers.coverage_at_10:.4f} | {costs} | {against} |"
        )
    return lines


def against_it(scored: Mapping[str, PerUser], first: str, other: str) -> Lift:
    """MAP@10 of `first` relative to that of `other`, paired over users."""
    return lift(scored[first].average_precision, scored[other].average_precision, other, BOOTSTRAP_SEED)


def told(found: Lift) -> str:
    """A relative difference with its interval."""
    return f"{found.relative:+.1%} [{found.lower:+.1%}, {found.upper:+.1%}]"


def verdict(found: Lift, first: str) -> str:
    """The goal and the stretch of issue 5, met or missed."""
    met, beyond = ("met" if each else "missed" for each in (found.relative >= TOLERATED, found.lower > 0))
    sure = "the interval agrees" if found.lower >= TOLERATED else "the interval does not exclude more"
    return (
        f"The best peer is {found.over}; {first} is {told(found)} against it. Not worse by more than "
        f"{-TOLERATED:.0%}: **{met}** ({sure}). Stretch, the whole interval above 0: **{beyond}**."
    )


def asked_about(data: DataSet, rehearse: bool) -> tuple[Interactions, Interactions, int]:
    """(before, later, the cut in µs): of the test period, or of the last rolling origin."""
    if not rehearse:
        return data.split.before_test, data.split.test, data.split.test_from_us
    last = origins(data.split.before_test, ORIGINS)[-1]
    return last.before, last.window, last.cut_us


def main() -> None:
    """Measure, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rehearse", action="store_true", help="the last rolling origin, not the test period")
    arguments = parser.parse_args()
    settings = TrainingSettings.load()
    data = DataSet.read(settings.data_dir / ML_1M.name, settings.data_dir, ML_1M.digest)
    before, later, cut_us = asked_about(data, arguments.rehearse)
    task = Task.of(before, later, data.movies)
    users = sorted(task.warm)
    chosen = read_chosen()
    models = contestants(chosen)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "split.npz"
        split, rows = split_of(before, users)
        split.write(path)
        measured = measure(path, rows, models, arguments.rounds)
        checks = agreement(path, rows, task, {name: each.lists for name, each in measured.items()}, models)
    rankings = {name: rank_by_popularity(task, scores, users) for name, scores in family_scores(before, cut_us).items()}
    rankings |= {name: Ranking(each.lists) for name, each in measured.items()}
    scored = {name: PerUser.of(ranking, task, users) for name, ranking in rankings.items()}
    first = max(CONFIGURATIONS, key=lambda name: chosen[name].map_at_10)
    peers = [name for name in models if name not in CONFIGURATIONS]
    best = max(peers, key=lambda name: float(scored[name].average_precision.mean()))
    period = "The last rolling origin (a rehearsal)" if arguments.rehearse else "Test period"
    print(
        f"{period}: {len(users):,} warm users, {len(before):,} ratings before it; {arguments.rounds} rounds, "
        f"{THREADS} threads each. Chosen at rolling origins: {first}.\n"
    )
    print("\n".join(table(scored, measured, task, first)))
    print(f"\n{verdict(against_it(scored, first, best), first)}\n")
    print("\n".join(checks))
    print("\n".join(surroundings(measured, load)))


def surroundings(measured: Mapping[str, Measured], load: float) -> list[str]:
    """What ran where, how busy the machine was, and whose lists changed from round to round."""
    where = dict.fromkeys(each.rounds[0].environment for each in measured.values())
    restless = [f"{name} ({each.restless} users)" for name, each in measured.items() if each.restless]
    return [
        *(f"- Environment: {each}." for each in where),
        f"- Processes that wanted a core, a minute's mean: {load:.1f} before, {os.getloadavg()[0]:.1f} after.",
        f"- Lists that were not the same in every round: {', '.join(restless) or 'none'}.",
    ]


if __name__ == "__main__":
    main()
