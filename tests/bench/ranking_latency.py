"""What ranking and each rung cost: `OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m tests.bench.ranking_latency`.

On the factors of the champion, fitted on the first 80 % of MovieLens-1M: every case for the same users in turn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import faiss
import numpy as np

from bentos.bundle import load_bundle
from bentos.fallback import Fallback
from bentos.fold_in import FoldIn
from bentos.history import History
from bentos.ranking import Ranker
from bentos.ranking_settings import RankingSettings, read_ranking
from bentos.retrieval import search
from training.data_set import DataSet
from training.experiment import read_experiment
from training.export import export_bundle
from training.model import fit_model
from training.movielens import ML_1M
from training.settings import TrainingSettings

USERS: Final = 2_000
WEIGHTS: Final = Path("bentos/configs/ranking.toml")
DIVERSE: Final = RankingSettings(diversity=0.1)


def main() -> None:
    """Print the table."""
    settings = TrainingSettings.load()
    data = DataSet.read(settings.data_dir / ML_1M.name, settings.data_dir, ML_1M.digest)
    before, cut_us = data.fitting("train")
    experiment = read_experiment(Path("training/configs/champion.toml"))
    fitted = fit_model(before, data.movies, experiment, settings.torch_threads)
    with tempfile.TemporaryDirectory() as directory:
        export_bundle(Path(directory) / "b", experiment, fitted, before, data.movies, cut_us, {})
        bundle = load_bundle(Path(directory) / "b")
    faiss.omp_set_num_threads(1)
    last = bundle.catalogue.column("last_interaction_us").to_numpy()
    assert bundle.fold_in is not None
    solver, fallback = FoldIn(bundle.fold_in, bundle.item_vectors, last > 0), Fallback(bundle)
    rng = np.random.default_rng(1)
    nobody: frozenset[int] = frozenset()
    candidates = [search(bundle.index, vector, 200, nobody) for vector in bundle.user_vectors[:USERS]]
    histories = [rng.choice(len(last), 50, replace=False) for _ in range(USERS)]
    stars = rng.integers(1, 6, (USERS, 50)).astype(np.float64)
    known = [History(frozenset(rows.tolist()), rows, each) for rows, each in zip(histories, stars, strict=True)]
    chosen = read_ranking(WEIGHTS)

    def ranked(ranking: RankingSettings, k: int) -> Callable[[int], object]:
        ranker = Ranker(ranking, bundle.catalogue)
        return lambda user: ranker.order(*candidates[user], k, cut_us)

    cases: dict[str, Callable[[int], object]] = {
        "ranking 200 → 10, the committed weights": ranked(chosen, 10),
        "ranking 200 → 10, diversity alone": ranked(DIVERSE, 10),
        "ranking 200 → 100, the committed weights": ranked(chosen, 100),
        "search of 10": lambda user: search(bundle.index, bundle.user_vectors[user], 10, known[user].seen),
        "search of 200": lambda user: search(bundle.index, bundle.user_vectors[user], 200, known[user].seen),
        "fold-in of 50 events": lambda user: solver.solve(histories[user], stars[user]),
        "profile, 50 seen": lambda user: fallback.content(known[user], 10),
        "popularity, 50 seen": lambda user: fallback.popular(10, known[user].seen),
    }
    print("| what, one thread | median | p95 |\n|---|---|---|")
    for name, case in cases.items():
        taken = []
        for user in range(min(USERS, len(candidates))):
            started = time.perf_counter()
            case(user)
            taken.append(time.perf_counter() - started)
        print(f"| {name} | {np.median(taken) * 1e3:.3f} ms | {np.quantile(taken, 0.95) * 1e3:.3f} ms |")


if __name__ == "__main__":
    main()
