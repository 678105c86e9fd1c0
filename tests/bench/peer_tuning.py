"""Settings for the peers, chosen as ours were: `python -m tests.bench.peer_tuning`, about 40 minutes of two cores.

Every trial of peers/grids.toml is scored at the rolling origins of `training.rolling`, those of our own search, and the
best of each peer goes to peers/chosen.toml, beside our own configurations at the same origins. The test period is not
touched. An interrupted run goes on where it was. Next module: `tests.bench.training`, which fits what was chosen.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tests.bench.peers.process import ROOT, Model, ask, ask_once
from tests.bench.peers.split_file import Rows, split_of
from training.data_set import DataSet
from training.evaluate import average_precisions
from training.experiment import read_experiment
from training.movielens import ML_1M
from training.rolling import Asked, Pooled, origins
from training.settings import TrainingSettings
from training.task import Ranking

PEERS = Path(__file__).parent / "peers"
GRIDS, CHOSEN = PEERS / "grids.toml", PEERS / "chosen.toml"
CACHE = ROOT / ".understudy" / "peers"
ORIGINS = 5
CONFIGURATIONS = ("champion", "tuned")
"""Ours, as in training/configs: settings that were chosen before."""


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of every trial, and by setting the values to try."""

    fixed: dict[str, Any]
    try_: dict[str, list[Any]] = msgspec.field(name="try")

    def trials(self) -> list[dict[str, Any]]:
        """Every combination."""
        return [
            self.fixed | dict(zip(self.try_, values, strict=True)) for values in itertools.product(*self.try_.values())
        ]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is fitted with, and what it had at the rolling origins."""

    module: str
    model: str
    trials: int
    map_at_10: float
    standard_error: float
    settings: dict[str, Any]

    def as_model(self) -> Model:
        """What to fit."""
        return Model(self.module, self.model, self.settings)


@dataclass(frozen=True)
class Scored:
    """A trial with its pooled numbers."""

    model: Model
    pooled: Pooled


def ours() -> dict[str, Model]:
    """Our configurations by name. `SystemExit` for a hybrid: the catalogue is not in a split file."""
    found = {}
    for name in CONFIGURATIONS:
        experiment = read_experiment(ROOT / "training" / "configs" / f"{name}.toml")
        if experiment.content is not None:
            raise SystemExit(f"{name} is a hybrid: it needs the catalogue, which is not in the split file")
        found[name] = Model("ours", "iALS", msgspec.to_builtins(experiment.ials))
    return found


def read_chosen() -> dict[str, Choice]:
    """What `main` wrote, by name: our configurations first."""
    return msgspec.toml.decode(CHOSEN.read_bytes(), type=dict[str, Choice])


def scored(many: list[Asked], files: list[tuple[Path, Rows]], models: list[Model], name: str) -> list[Scored]:
    """All of `models`, which are of one module, at every origin; one process for each."""
    found: list[list[np.ndarray]] = []
    for number, (asked, (path, rows)) in enumerate(zip(many, files, strict=True), start=1):
        # Our own code changes without its version: only what the peers answered is kept.
        answers = ask_once(path, models, CACHE) if models[0].module == "theirs" else ask(path, models)
        rankings = [Ranking(rows.lists(lists)) for lists in answers.lists]
        found.append([average_precisions(ranking, asked.task, asked.warm) for ranking in rankings])
        used = f"{answers.seconds.sum():.0f} s, CPU {answers.cpu.sum():.0f} s"
        print(f"{name}: {len(models)} fits at origin {number} of {len(many)}, {used}", file=sys.stderr)
    users = np.concatenate([np.array(asked.warm, np.int64) for asked in many])
    return [
        Scored(model, Pooled(users, np.concatenate(parts)))
        for model, parts in zip(models, zip(*found, strict=True), strict=True)
    ]


def main() -> None:
    """Try everything, write chosen.toml, print what was found."""
    settings = TrainingSettings.load()
    data = DataSet.read(settings.data_dir / ML_1M.name, settings.data_dir, ML_1M.digest)
    many = [Asked.at(origin) for origin in origins(data.split.before_test, ORIGINS)]
    grids = msgspec.toml.decode(GRIDS.read_bytes(), type=dict[str, Grid])
    with tempfile.TemporaryDirectory() as name:
        files = []
        for number, asked in enumerate(many):
            split, rows = split_of(asked.origin.before, asked.warm)
            files.append((Path(name) / f"origin-{number}.npz", rows))
            split.write(files[-1][0])
        tried = {title: scored(many, files, [model], title) for title, model in ours().items()}
        for peer, grid in grids.items():
            tried[peer] = scored(many, files, [Model("theirs", peer, each) for each in grid.trials()], peer)
    best = {title: max(trials, key=lambda trial: trial.pooled.mean) for title, trials in tried.items()}
    CHOSEN.write_text(chosen_document(tried, best))
    print(summary(tried, best, len(data.split.before_test)))
    print(every_trial(tried))


def chosen_document(tried: dict[str, list[Scored]], best: dict[str, Scored]) -> str:
    """chosen.toml."""
    choices = {
        title: Choice(
            module=trial.model.module,
            model=trial.model.model,
            trials=len(tried[title]),
            map_at_10=round(trial.pooled.mean, 6),
            standard_error=round(trial.pooled.standard_error, 6),
            settings=trial.model.settings,
        )
        for title, trial in best.items()
    }
    head = "# Written by `python -m tests.bench.peer_tuning`: the best trial of each peer at the rolling origins.\n\n"
    return head + msgspec.toml.encode(choices).decode()


def summary(tried: dict[str, list[Scored]], best: dict[str, Scored], ratings: int) -> str:
    """One row per model, the differences paired with the best of ours."""
    first = max(CONFIGURATIONS, key=lambda title: best[title].pooled.mean)
    rows = len(best[first].pooled.user)
    lines = [
        f"{ORIGINS} rolling origins in the {ratings:,} ratings before the test period, {rows:,} users × origins. "
        f"Differences are paired with {first}, the best of ours.\n",
        f"| model | trials | MAP@10 ± SE | − {first} ± SE | chosen |",
        "|---|---|---|---|---|",
    ]
    for title, trial in best.items():
        difference, error = trial.pooled.difference(best[first].pooled)
        lines.append(
            f"| {title} | {len(tried[title])} | {trial.pooled.mean:.4f} ± {trial.pooled.standard_error:.4f} "
            f"| {difference:+.4f} ± {error:.4f} | {told(trial.model.settings)} |"
        )
    return "\n".join(lines)


def every_trial(tried: dict[str, list[Scored]]) -> str:
    """All trials of all peers, folded away."""
    lines = [
        "\n<details>\n<summary>Every trial of every peer</summary>\n",
        "| model | settings | MAP@10 |",
        "|---|---|---|",
    ]
    for title, trials in tried.items():
        if title not in CONFIGURATIONS:
            lines += [f"| {title} | {told(trial.model.settings)} | {trial.pooled.mean:.4f} |" for trial in trials]
    return "\n".join([*lines, "\n</details>"])


def told(settings: dict[str, Any]) -> str:
    """Settings in one line of a table."""
    return " ".join(f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in settings.items())


if __name__ == "__main__":
    main()
