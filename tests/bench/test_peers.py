"""The bench of the peers without the peers: files, ranking, the process that fits, the choice, what is said of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import agreement, peer_tuning, training
from tests.bench.peers import process
from tests.bench.peers.fit import LENGTH, ranked
from tests.bench.peers.process import Answers, Model, ask, ask_once
from tests.bench.peers.split_file import NOTHING, Rows, Split, split_of
from training.evaluate import Lift
from training.references import ease
from training.split import split_by_time
from training.synthetic import synthetic_interactions
from training.task import Task, top

SPLIT = split_by_time(synthetic_interactions(6, users=200, items=60, per_user=15))
TASK = Task.of(SPLIT.before_test, SPLIT.test)
WARM = sorted(TASK.warm)


def task_of(items: int, seen: set[int]) -> Task:
    """One user, 0, who has seen some of the items, all of which are candidates."""
    return Task(
        relevant={0: frozenset({0})},
        seen={0: np.array(sorted(seen), np.int32)},
        candidates=np.ones(items, np.bool_),
        tail=frozenset(),
        warm=frozenset({0}),
        liked_by=np.zeros(items, np.int64),
        users=1,
    )


def test_a_split_file_reads_as_it_was_written(tmp_path: Path) -> None:
    split, _ = split_of(SPLIT.before_test, WARM)
    split.write(tmp_path / "split.npz")
    again = Split.read(tmp_path / "split.npz")
    assert (again.users, again.items) == (split.users, split.items)
    for name in ("user", "item", "rating", "asked"):
        np.testing.assert_array_equal(getattr(again, name), getattr(split, name))


def test_a_split_file_holds_nothing_of_the_later_period() -> None:
    split, rows = split_of(SPLIT.before_test, WARM)
    assert len(split.user) == len(SPLIT.before_test)
    assert set(rows.items.tolist()) == set(np.flatnonzero(TASK.candidates).tolist())
    for user, at in zip(WARM, split.asked, strict=True):
        assert sorted(rows.items[split.seen_by()[at]].tolist()) == sorted(TASK.seen[user].tolist())


def test_who_has_no_rating_before_the_cut_cannot_be_asked_about() -> None:
    stranger = next(user for user in TASK.relevant if user not in TASK.seen)
    with pytest.raises(ValueError, match="only users with a rating before the cut"):
        split_of(SPLIT.before_test, sorted([*WARM, stranger]))


def test_lists_come_back_in_the_rows_of_the_whole_data() -> None:
    rows = Rows(asked=[4, 7], items=np.array([10, 20, 30]))
    assert rows.lists(np.array([[2, 0], [1, NOTHING]], np.int32)) == {4: [30, 10], 7: [20]}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.data())
def test_lists_are_ranked_as_evaluation_ranks_them(values: list[int], data: st.DataObject) -> None:
    """Few different scores, so that ties are the rule; `training.task.top` is the other implementation."""
    seen = data.draw(st.sets(st.integers(0, len(values) - 1)))
    scores = np.array(values, np.float32)
    found = ranked(scores[None], [np.array(sorted(seen), np.int32)])[0]
    assert len(found) == LENGTH
    assert [item for item in found.tolist() if item != NOTHING] == top(scores, task_of(len(values), seen), 0)


def test_the_process_that_fits_gives_the_lists_that_evaluation_would(tmp_path: Path) -> None:
    split, rows = split_of(SPLIT.before_test, WARM)
    split.write(tmp_path / "split.npz")
    answers = ask(tmp_path / "split.npz", [Model("ours", "EASE", {"regularisation": 10.0})])
    expected = ease(SPLIT.before_test, 10.0).rank(TASK, np.zeros(60), WARM)
    assert rows.lists(answers.lists[0]) == expected.lists
    assert answers.seconds[0] > 0
    assert answers.peak[0] >= answers.before > 10
    assert "torch" in answers.environment


def test_a_fit_that_fails_says_which_and_why(tmp_path: Path) -> None:
    split, _ = split_of(SPLIT.before_test, WARM)
    split.write(tmp_path / "split.npz")
    with pytest.raises(SystemExit, match=r"EASE: fitting failed\n(.|\n)*regularization"):
        ask(tmp_path / "split.npz", [Model("ours", "EASE", {"regularization": 10.0})])


def test_without_the_environment_of_the_peers_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PEER_PYTHON", process.ROOT / ".venv-nowhere" / "python")
    with pytest.raises(SystemExit, match=r"\.venv-nowhere/python is missing: 'make bench-training' makes it"):
        ask(tmp_path / "split.npz", [Model("theirs", "implicit ALS", {})])


def test_the_same_question_is_answered_once(tmp_path: Path) -> None:
    split, _ = split_of(SPLIT.before_test, WARM)
    split.write(tmp_path / "split.npz")
    models = [Model("ours", "EASE", {"regularisation": 10.0})]
    first = ask_once(tmp_path / "split.npz", models, tmp_path / "cache")
    again = ask_once(tmp_path / "split.npz", models, tmp_path / "cache")
    assert again.seconds[0] == first.seconds[0]
    ask_once(tmp_path / "split.npz", [Model("ours", "EASE", {"regularisation": 20.0})], tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_grid_is_every_combination() -> None:
    grid = peer_tuning.Grid(fixed={"factors": 8}, try_={"alpha": [1.0, 2.0], "iterations": [3]})
    assert grid.trials() == [
        {"factors": 8, "alpha": 1.0, "iterations": 3},
        {"factors": 8, "alpha": 2.0, "iterations": 3},
    ]


def test_what_was_chosen_is_in_the_grids() -> None:
    grids = msgspec.toml.decode(peer_tuning.GRIDS.read_bytes(), type=dict[str, peer_tuning.Grid])
    chosen = peer_tuning.read_chosen()
    assert list(chosen) == [*peer_tuning.CONFIGURATIONS, *grids]
    for name, grid in grids.items():
        assert chosen[name].settings in grid.trials()
        assert chosen[name].trials == len(grid.trials())
        # The peers get no smaller a search than ours, but for the one with two settings to choose.
        assert len(grid.trials()) >= 12


def test_a_configuration_that_changed_is_not_compared_with_old_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = peer_tuning.read_chosen()
    changed = Model("ours", "iALS", {"dimension": 3})
    monkeypatch.setattr(
        training,
        "ours",
        lambda: (
            {name: chosen[name].as_model() for name in chosen if chosen[name].module == "ours"} | {"tuned": changed}
        ),
    )
    with pytest.raises(SystemExit, match=r"tuned\.toml is not what peers/chosen\.toml was made with"):
        training.contestants(chosen)


@pytest.mark.parametrize(
    ("relative", "lower", "said"),
    [
        (0.03, 0.01, ("**met** (the interval agrees)", "above 0: **met**")),
        (0.01, -0.01, ("**met** (the interval agrees)", "above 0: **missed**")),
        (-0.01, -0.05, ("**met** (the interval does not exclude more)", "above 0: **missed**")),
        (-0.03, -0.05, ("**missed** (the interval does not exclude more)", "above 0: **missed**")),
    ],
)
def test_the_goal_is_said_to_be_met_or_missed(relative: float, lower: float, said: tuple[str, str]) -> None:
    found = training.verdict(Lift(over="EASE", relative=relative, lower=lower, upper=0.1), "tuned")
    for each in said:
        assert each in found


def answers_of(lists: list[list[int]], seconds: float) -> Answers:
    """One model's answers in one round."""
    one = np.array([seconds])
    return Answers(np.array([lists], np.int32), one, 2 * one, np.array([500.0]), 200.0, "here")


def test_costs_are_medians_and_restless_lists_are_counted() -> None:
    rounds = [answers_of([[1, 2], [3, 4]], 1.0), answers_of([[1, 2], [4, 3]], 9.0), answers_of([[1, 2], [3, 4]], 2.0)]
    found = training.Measured({}, rounds)
    assert found.costs() == "2.0 (1.0–9.0) | 4.0 | 500 (200)"
    assert found.restless == 1


def test_an_engine_that_disagrees_is_seen() -> None:
    mine = agreement.our_values([["a", "b"]], [["b"]])
    assert mine["average_precision_at_10"] == [0.5]
    theirs = mine | {"ndcg_at_10": [mine["ndcg_at_10"][0] + 0.25]}
    assert "ndcg_at_10 2e-01" in agreement.told("ranx", theirs, mine, 1)
    assert "not installed" in agreement.told("trec_eval", {}, mine, 1)


def test_trec_eval_agrees_on_a_list_by_hand() -> None:
    pytest.importorskip("pytrec_eval")
    ranked_lists, relevant = [["a", "b", "c"], ["x"]], [["a", "c"], ["y"]]
    _, theirs = agreement.by_trec_eval(ranked_lists, relevant)
    mine = agreement.our_values(ranked_lists, relevant)
    for name, values in mine.items():
        assert values == pytest.approx(theirs[name])
