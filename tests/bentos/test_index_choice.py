"""The choice: the cheapest index that reaches the target by users who did not choose it, else the exact one."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from bentos import index_choice
from bentos.index import build
from bentos.index_choice import NAMES, Choice, candidates, choose
from bentos.index_kinds import Flat
from bentos.index_lists import IvfIp, IvfRanged
from bentos.index_measure import HeldOut, K, lower_bound, measure
from bentos.index_record import computations
from bentos.index_report import CHOSEN, IndexReport
from bentos.retrieval import SPARE, exact
from bentos.seen import STAND_IN, SeenSource, from_pairs


def clustered(items: int, users: int, dimension: int = 16) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((40, dimension))
    around = [
        centres[rng.integers(0, 40, count)] + 0.5 * rng.standard_normal((count, dimension)) for count in (items, users)
    ]
    lengths = np.exp(0.35 * rng.standard_normal((items, 1)))
    rows = around[0] / np.linalg.norm(around[0], axis=1, keepdims=True) * lengths
    return rows.astype(np.float32), around[1].astype(np.float32)


ITEMS, USERS = clustered(20_000, 400)
SEEN = SeenSource("facts", lambda users: [frozenset(range(user % 50)) for user in users.tolist()])


@pytest.fixture(scope="module")
def choice() -> Choice:
    return choose(ITEMS, USERS, SEEN)


def test_the_cheapest_that_reaches_the_target_is_kept(choice: Choice) -> None:
    report = choice.report
    assert [each.index.name for each in report.candidates] == list(NAMES)
    kept = next(each for each in report.candidates if each.outcome == CHOSEN)
    assert choice.index.kind == kept.index == report.index
    assert kept.choosing.lower >= report.target
    assert kept.reporting.recall == report.recall >= report.target
    for each in report.candidates:
        if each.choosing.lower >= report.target and each.reporting.recall >= report.target:
            assert each.cost >= kept.cost
        else:
            assert "misses the target" in each.outcome
    assert kept.choosing.computations <= 20_000 - 10_000
    assert (report.users, report.seen, report.items, report.dimension) == (200, "facts", 20_000, 16)


def test_what_is_reported_is_true(choice: Choice) -> None:
    """recall@10 of the kept index once more, user by user, against exact search."""
    held = choice.reporting
    assert held is not None
    found = []
    for query, seen in zip(held.queries, held.seen, strict=True):
        size = 1 << (max(64, K + len(seen) + SPARE) - 1).bit_length()
        proposed = [row for row in choice.index.propose(query.reshape(1, -1), size)[0].tolist() if row >= 0]
        ours = [row for row in proposed if row not in seen][: K + SPARE]
        best = sorted(ours, key=lambda row: -float(ITEMS[row] @ query))[:K]
        found.append(len(set(best) & set(exact(ITEMS, query, K, seen)[0].tolist())) / K)
    assert choice.report.recall == pytest.approx(np.mean(found), abs=1e-6)


def test_the_plain_choice_is_reported_by_name(choice: Choice) -> None:
    plain = next(each for each in choice.report.candidates if each.index.name == "IVF-IP")
    assert isinstance(plain.index, IvfIp)
    assert plain.index.nprobe == 20


def test_equal_inputs_give_equal_reports(choice: Choice) -> None:
    assert msgspec.json.encode(choose(ITEMS, USERS, SEEN).report) == msgspec.json.encode(choice.report)
    decoded = msgspec.json.decode(msgspec.json.encode(choice.report), type=IndexReport)
    assert decoded == choice.report


def test_a_half_that_did_not_choose_can_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything reaches the target by the first half, nothing but Flat by the second."""
    halves = []

    def pretended(index, held):
        halves.append(held)
        figures = measure(index, held)
        recall = 1.0 if held is halves[0] or index.exact else 0.9
        return msgspec.structs.replace(figures, recall=recall, lower=recall)

    monkeypatch.setattr(index_choice, "measure", pretended)
    found = choose(ITEMS, USERS, SEEN, names=["IVF-ranged"]).report
    assert found.index == Flat()
    assert found.candidates[1].outcome == "misses the target by the half that did not choose"
    assert "exact" in found.reason


def test_a_target_beyond_reach_ends_on_the_exact_index() -> None:
    rng = np.random.default_rng(4)
    items, users = (rng.standard_normal((count, 32), dtype=np.float32) for count in (20_000, 200))
    found = choose(items, users, names=["IVF-IP"]).report
    assert found.index == Flat()
    assert {each.outcome for each in found.candidates} == {CHOSEN, "misses the target"}
    assert found.seen == STAND_IN


def test_a_catalogue_of_a_few_thousand_stays_exact_though_others_reach_the_target() -> None:
    items, users = clustered(3_700, 400)
    found = choose(items, users).report
    assert found.index == Flat()
    assert "saves too little against Flat" in {each.outcome for each in found.candidates}


@pytest.mark.parametrize(
    ("items", "users", "reason"), [(999, 200, "fewer than 1,000 items"), (1_000, 99, "fewer than 100 users")]
)
def test_too_few_to_measure_is_exact_and_says_so(items: int, users: int, reason: str) -> None:
    found = choose(ITEMS[:items], USERS[:users])
    assert found.index.exact
    assert reason in found.report.reason
    assert (found.report.candidates, found.report.recall) == ((), None)


def test_a_graph_over_many_items_is_built_only_when_asked_for() -> None:
    assert "HNSW-IP" in {kind.name for kind in candidates(50_000)}
    assert "HNSW-IP" not in {kind.name for kind in candidates(50_001)}
    assert [kind.name for kind in candidates(1_000_000, ["HNSW-IP"])] == ["Flat", "HNSW-IP"]


def test_a_kind_that_does_not_exist_and_a_target_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="no kind of index 'LSH'; there are Flat, SQ8"):
        choose(ITEMS, USERS, names=["LSH"])
    with pytest.raises(ValueError, match=r"target must be above 0 and at most 1, not 1\.5"):
        choose(ITEMS, USERS, target=1.5)


def test_a_user_for_whom_too_few_are_proposed_counts_as_nothing_found_and_as_a_search_of_all() -> None:
    """By hand: one list of two is read; one user has seen all in it, for the other K + SPARE of it are scored again."""
    items = np.array([[1, 0.1 * row] for row in range(100)] + [[-1, 0.1 * row] for row in range(100)], np.float32)
    index = build(items, IvfIp(nlist=2, nprobe=1))
    seen = frozenset(range(100))
    held = HeldOut.of(build(items), np.array([[1, 0], [-1, 0]], np.float32), [seen, seen])
    found = measure(index, held)
    assert (found.recall, found.short) == (0.5, 0.5)
    assert found.computations == 2 + 100 + (K + SPARE) / 2 + 200 / 2


def test_a_computation_of_a_graph_weighs_eight(choice: Choice) -> None:
    lists, graph = choice.report.candidates[-2:]
    assert [lists.index.name, graph.index.name] == ["IVF-IP", "HNSW-IP"]
    assert graph.cost == 8 * graph.choosing.computations
    assert lists.cost == lists.choosing.computations
    assert computations(graph) == f"{graph.reporting.computations:,.0f} × 8"


def test_each_time_that_the_index_is_asked_counts() -> None:
    """By hand: the best 150 of 200 items are seen, so 128 rows are fetched, then all; both lists are read twice."""
    items = np.array([[1, 0.1 * row] for row in range(100)] + [[-1, 0.1 * row] for row in range(100)], np.float32)
    index = build(items, IvfIp(nlist=2, nprobe=2))
    best = exact(items, np.array([1, 0], np.float32), 200, frozenset())[0].tolist()
    held = HeldOut.of(build(items), np.array([[1, 0]], np.float32), [frozenset(best[:150])])
    assert measure(index, held).computations == 2 * (2 + 200) + K + SPARE


def test_equal_items_count_as_found() -> None:
    items = np.ones((300, 2), np.float32)
    index = build(items, IvfRanged(nlist=4, bands=2, nprobe=4))
    held = HeldOut.of(build(items), np.ones((5, 2), np.float32), [frozenset({0, 1})] * 5)
    assert measure(index, held).recall == 1


def test_users_who_have_seen_everything_are_left_out() -> None:
    items = np.eye(4, dtype=np.float32)
    assert len(HeldOut.of(build(items), items[:2], [frozenset(range(4)), frozenset({1})])) == 1


def test_the_lower_bound_by_hand() -> None:
    """Mean .9, standard deviation .1 · √(4/3), standard error that over 2."""
    assert lower_bound(np.array([0.8, 1.0, 0.8, 1.0])) == pytest.approx(
        0.9 - 1.6449 * 0.1 * (4 / 3) ** 0.5 / 2, abs=1e-4
    )
    assert lower_bound(np.ones(100)) == 1


def test_pairs_become_sets_by_user() -> None:
    source = from_pairs(np.array([2, 0, 2, 2]), np.array([5, 1, 7, 5]), 4)
    assert source.of(np.array([2, 3, 0])) == [frozenset({5, 7}), frozenset(), frozenset({1})]
