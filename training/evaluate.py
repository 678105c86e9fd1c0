"""Scoring a model's lists: every user by the metrics of `analysis.lists`, then means, then the lift over a baseline.

The interval of a lift is a paired bootstrap over users. The numbers per user can be kept as Parquet, for a gate or for
anybody who doubts a mean. Next module: `training.experiment`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from analysis import lists as metrics
from training.export import replacing
from training.synthetic_mark import metadata
from training.task import Ranking, Task

K: Final = 10
K_RECALL: Final = 20
RAREFIED: Final = 500
"""Lists to which coverage is rarefied, so that sets of users of different sizes can be compared."""
BOOTSTRAP_DRAWS: Final = 10_000


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Means over `users`; coverage, Gini and entropy are of the whole set of lists.

    Coverage and Gini are over the items rated before, the same for all models; entropy is of all that was shown.
    """

    users: int
    map_at_10: float
    map_at_10_trec: float
    """The rule of trec_eval (over all relevant items), for comparison with other tables."""
    ndcg_at_10: float
    recall_at_20: float
    coverage_at_10: float
    coverage_at_10_of_500: float | None
    """Rarefied to `RAREFIED` lists; None when there are fewer."""
    long_tail_share_at_10: float
    gini_at_10: float
    entropy_at_10: float
    novelty_at_10: float
    diversity_at_10: float


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """Relative difference in MAP@10 to `over`, with its 95 % paired-bootstrap interval."""

    over: str
    relative: float
    lower: float
    upper: float


@dataclass(frozen=True)
class PerUser:
    """One row per user (rows of the task, ascending): arrays of shape (users,), and the lists they are of."""

    users: list[int]
    lists: list[list[int]]
    average_precision: NDArray[np.float64]
    average_precision_trec: NDArray[np.float64]
    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]
    long_tail_share: NDArray[np.float64]
    novelty: NDArray[np.float64]
    diversity: NDArray[np.float64]

    @staticmethod
    def of(ranking: Ranking, task: Task, users: Sequence[int]) -> PerUser:
        """Score the list of each of `users`."""
        lists = [ranking.lists[user] for user in users]
        pairs = [(ranked, task.relevant[user]) for ranked, user in zip(lists, users, strict=True)]
        liked_by = {row: int(count) for row, count in enumerate(task.liked_by)}
        return PerUser(
            users=list(users),
            lists=lists,
            average_precision=average_precisions(ranking, task, users),
            average_precision_trec=_array(
                metrics.average_precision_trec(ranked, wanted, K) for ranked, wanted in pairs
            ),
            ndcg=_array(metrics.ndcg(ranked, wanted, K) for ranked, wanted in pairs),
            recall=_array(metrics.recall(ranked, wanted, K_RECALL) for ranked, wanted in pairs),
            long_tail_share=_array(metrics.long_tail_share(ranked, task.tail, K) for ranked in lists),
            novelty=_array(metrics.novelty(ranked, liked_by, task.users, K) for ranked in lists),
            diversity=_array(metrics.intra_list_diversity(ranked, task.genres, K) for ranked in lists),
        )

    def where(self, wanted: frozenset[int]) -> PerUser:
        """The rows of these users."""
        rows = [row for row, user in enumerate(self.users) if user in wanted]
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return PerUser([self.users[row] for row in rows], [self.lists[row] for row in rows], **columns)

    def metrics(self, task: Task) -> Metrics:
        """Means, and what only the whole set of lists has."""
        shown = np.bincount([item for ranked in self.lists for item in ranked[:K]], minlength=len(task.candidates))
        recommendable = int(task.candidates.sum())
        # A hybrid shows items that nobody rated: they are no part of the catalogue that is shared out.
        rated = [[item for item in ranked[:K] if task.candidates[item]] for ranked in self.lists]
        enough = len(self.lists) >= RAREFIED
        return Metrics(
            users=len(self.users),
            map_at_10=float(self.average_precision.mean()),
            map_at_10_trec=float(self.average_precision_trec.mean()),
            ndcg_at_10=float(self.ndcg.mean()),
            recall_at_20=float(self.recall.mean()),
            coverage_at_10=metrics.coverage(rated, recommendable, K),
            coverage_at_10_of_500=(metrics.rarefied_coverage(rated, recommendable, K, RAREFIED) if enough else None),
            long_tail_share_at_10=float(self.long_tail_share.mean()),
            gini_at_10=metrics.gini(shown[task.candidates]),
            entropy_at_10=metrics.entropy(shown),
            novelty_at_10=float(self.novelty.mean()),
            diversity_at_10=float(self.diversity.mean()),
        )


COLUMNS: Final = tuple(field.name for field in fields(PerUser) if field.name not in ("users", "lists"))
"""The metrics of a user."""


def average_precisions(ranking: Ranking, task: Task, users: Sequence[int]) -> NDArray[np.float64]:
    """AP@10 of each of `users`, for who needs nothing else of them; shape (users,)."""
    return _array(metrics.average_precision(ranking.lists[user], task.relevant[user], K) for user in users)


def write_per_user(
    path: Path,
    scored: Mapping[str, PerUser],
    task: Task,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    synthetic: str = "",
) -> int:
    """Write one row per model and user, with the list, as Parquet; returns the rows. `OSError` names `path`.

    `synthetic`, what made-up data says of itself, goes to the metadata of the file.
    """
    tables = []
    for model, each in scored.items():
        columns: dict[str, pa.Array] = {
            "model": pa.array([model] * len(each.users), pa.string()),
            "user_id": pa.array([user_ids[user] for user in each.users], pa.string()),
            "warm": pa.array([user in task.warm for user in each.users], pa.bool_()),
            "relevant": pa.array([len(task.relevant[user]) for user in each.users], pa.int32()),
        }
        columns |= {name: pa.array(getattr(each, name)) for name in COLUMNS}
        ids = [[item_ids[item] for item in ranked] for ranked in each.lists]
        tables.append(pa.table(columns | {"items": pa.array(ids, pa.list_(pa.string()))}))
    table = pa.concat_tables(tables).replace_schema_metadata(metadata(synthetic))
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return int(table.num_rows)


def lift(model: NDArray[np.float64], baseline: NDArray[np.float64], over: str, seed: int) -> Lift:
    """mean(model) / mean(baseline) − 1 over the same users, with a percentile bootstrap that resamples users.

    Both arrays have shape (users,). `ValueError` when the baseline is 0 everywhere.
    """
    if not baseline.any():
        raise ValueError(f"{over} scores 0 for every user: there is no lift over it")
    rng = np.random.default_rng(seed)
    ratios = np.empty(BOOTSTRAP_DRAWS)
    for draw in range(BOOTSTRAP_DRAWS):
        chosen = rng.integers(0, len(model), len(model))
        ratios[draw] = model[chosen].sum() / max(baseline[chosen].sum(), np.finfo(float).tiny)
    lower, upper = np.quantile(ratios, [0.025, 0.975]) - 1
    return Lift(over=over, relative=float(model.mean() / baseline.mean() - 1), lower=float(lower), upper=float(upper))


def best_of(average_precisions: Mapping[str, NDArray[np.float64]]) -> str:
    """The name with the highest mean."""
    return max(average_precisions, key=lambda name: float(average_precisions[name].mean()))


def _array(values: object) -> NDArray[np.float64]:
    return np.fromiter(values, dtype=np.float64)  # type: ignore[call-overload, no-any-return]
