"""Do others get the same? Our metrics by ranx and trec_eval on real lists, our models by irspack with our settings.

The models are compared by their lists alone: no relevance is looked at. Next module: `tests.bench.record`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from analysis.lists import average_precision_trec, ndcg, overlap, recall
from tests.bench.peers.process import PEER_PYTHON, ROOT, Model, ask, environment
from tests.bench.peers.split_file import Rows
from training.task import Task

K, K_RECALL = 10, 20
JUDGED = "champion"
"""Whose lists go to the other engines."""
Lists = dict[int, list[int]]
Values = dict[str, list[float]]


def agreement(
    split: Path, rows: Rows, task: Task, lists: Mapping[str, Lists], models: Mapping[str, Model]
) -> list[str]:
    """Sentences: how far other engines are from our metrics, and other implementations from our models."""
    users = sorted(lists[JUDGED])
    ranked = [[str(item) for item in lists[JUDGED][user]] for user in users]
    relevant = [sorted(map(str, task.relevant[user])) for user in users]
    mine = our_values(ranked, relevant)
    engines: dict[str, Callable[[], tuple[str, Values]]] = {
        "ranx": lambda: by_ranx(split.with_suffix(".lists.json"), ranked, relevant),
        "trec_eval": lambda: by_trec_eval(ranked, relevant),
    }
    said = [told(*engine(), mine, len(users)) for engine in engines.values()]
    return said + [same_model(split, rows, lists[name], name, twin) for name, twin in twins(models).items()]


def twins(models: Mapping[str, Model]) -> dict[str, Model]:
    """By model of ours, irspack's with the same settings."""
    ials, ease = models["champion"].settings, models["EASE, ours"].settings
    knn = models["item-kNN, ours"].settings
    exact = {
        "n_components": ials["dimension"],
        "train_epochs": ials["sweeps"],
        "alpha0": ials["unobserved_weight"],
        "reg": ials["regularisation"],
        "nu": ials["regularisation_exponent"],
        "solver_type": "CHOLESKY",
        "weights": ials["weights"],
    }
    plain: dict[str, object] = {"weights": {}}
    # irspack knows no observed dislike; the champion has none.
    assert all(float(stars) >= ials["positive"] for stars in ials["weights"])
    return {
        "champion": Model("theirs", "irspack iALS", exact),
        "EASE, ours": Model("theirs", "irspack EASE", plain | {"reg": ease["regularisation"]}),
        "item-kNN, ours": Model(
            "theirs", "irspack item-kNN", plain | {"top_k": knn["neighbours"], "shrinkage": knn["shrinkage"]}
        ),
    }


def same_model(split: Path, rows: Rows, lists: Lists, name: str, twin: Model) -> str:
    """How alike the lists of two implementations are."""
    answers = ask(split, [twin])
    theirs = rows.lists(answers.lists[0])
    alike = np.mean([overlap(lists[user], theirs[user], K) for user in lists])
    same = sum(lists[user][:K] == theirs[user][:K] for user in lists)
    cost = f"{answers.seconds[0]:.1f} s, {answers.cpu[0]:.1f} s of CPU"
    return (
        f"- {name} and {twin.model} with the same settings ({cost}): overlap@{K} {alike:.4f}, the same {K} in the same "
        f"order for {same:,} of {len(lists):,} users."
    )


def our_values(ranked: list[list[str]], relevant: list[list[str]]) -> Values:
    """Our metrics by the rule that the others have: AP over all relevant items."""
    pairs = list(zip(ranked, relevant, strict=True))
    return {
        "average_precision_at_10": [average_precision_trec(*pair, K) for pair in pairs],
        "ndcg_at_10": [ndcg(*pair, K) for pair in pairs],
        "recall_at_20": [recall(*pair, K_RECALL) for pair in pairs],
    }


def by_ranx(path: Path, ranked: list[list[str]], relevant: list[list[str]]) -> tuple[str, Values]:
    """ranx in the environment of the peers."""
    cases = [{"ranked": one, "relevant": other} for one, other in zip(ranked, relevant, strict=True)]
    path.write_text(json.dumps(cases))
    command = [str(PEER_PYTHON), "-W", "ignore", "-m", "tests.bench.peers.ranx_values", "score", str(path), str(path)]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, timeout=600)
    found = json.loads(path.read_bytes())
    return f"ranx {found['version']}", {name: [row[name] for row in found["values"]] for name in found["values"][0]}


def by_trec_eval(ranked: list[list[str]], relevant: list[list[str]]) -> tuple[str, Values]:
    """trec_eval, which has a wheel for this machine or has not."""
    try:
        import pytrec_eval
    except ImportError:
        return "trec_eval", {}
    names = {"average_precision_at_10": "map_cut_10", "ndcg_at_10": "ndcg_cut_10", "recall_at_20": "recall_20"}
    wanted = {str(row): dict.fromkeys(items, 1) for row, items in enumerate(relevant)}
    run = {
        str(row): {item: float(len(items) - place) for place, item in enumerate(items)}
        for row, items in enumerate(ranked)
    }
    found = pytrec_eval.RelevanceEvaluator(wanted, set(names.values())).evaluate(run)
    return "trec_eval", {
        ours: [found[str(row)][theirs] for row in range(len(ranked))] for ours, theirs in names.items()
    }


def told(engine: str, theirs: Values, mine: Values, users: int) -> str:
    """The largest difference of each metric."""
    if not theirs:
        return f"- {engine} is not installed here: not compared."
    largest = {name: float(np.abs(np.subtract(mine[name], theirs[name])).max()) for name in theirs}
    said = ", ".join(f"{name} {value:.0e}" for name, value in largest.items())
    return f"- {engine} on the lists of {JUDGED}, {users:,} users, largest difference to analysis.lists: {said}."
