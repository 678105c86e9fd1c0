"""The ladder: which rung answers whom, and what holds for every answer whatever is known of the user."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bentos.bundle import Bundle, load_bundle
from bentos.catalogue import RECENT_LEAST
from bentos.fallback import SOURCES
from bentos.features import FAULTS, Event, Features, Missing
from bentos.fold_in import FoldIn, FoldInSettings
from bentos.ranking_settings import RankingSettings
from bentos.recommend import IN_A_ROW, Ladder, Recommendation
from tests.bentos.bundles import FOLD_IN, synthetic_bundle
from tests.bentos.fronts import Remembered

CUT_US = 1_000_000
"""When the made-up bundles end."""
HYBRID = FoldInSettings(
    dimension=4, factor_share=0.8, unobserved_weight=0.1, regularisation=1.0, regularisation_exponent=0.5,
    positive=4.0, weights={"2": 0.5},
)  # fmt: skip
COLUMNS = {
    "plain": {},
    "hybrid": {"genres": [[["Drama"], ["Comedy", "Drama"], []][row % 3] for row in range(40)]},
    "of late": {"popularity": np.full(40, 2 * RECENT_LEAST), "recent_popularity": np.arange(40) + RECENT_LEAST},
    "cold items": {"last_interaction_us": np.where(np.arange(40) < 20, CUT_US, 0)},
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    directory = tmp_path_factory.mktemp("ladder")
    settings = {"plain": FOLD_IN, "hybrid": HYBRID, "of late": None, "cold items": FOLD_IN}
    for name, columns in COLUMNS.items():
        synthetic_bundle(directory / name, columns=columns, fold_in=settings[name])
    synthetic_bundle(directory / "small", items=3)
    return {name: load_bundle(directory / name) for name in [*COLUMNS, "small"]}


def ask(
    bundle: Bundle,
    found: Features | Missing,
    k: int = 10,
    ranking: RankingSettings | None = None,
    now_us: int | None = None,
) -> Recommendation:
    return asyncio.run(Ladder(bundle, Remembered({"user": found}), ranking).recommend("user", k, now_us))


def rated(*stars: float, at: int = CUT_US + 1) -> tuple[Event, ...]:
    return tuple(Event(f"i{row:04d}", each, at) for row, each in enumerate(stars))


VECTOR = np.ones(8, np.float32)


@pytest.mark.parametrize(
    ("vector", "seen", "events", "source"),
    [
        (VECTOR, 0, (), "hybrid"),
        (VECTOR, 3, (), "hybrid"),
        (VECTOR, 0, rated(5, 5, at=CUT_US), "hybrid"),  # the vector knows these
        (VECTOR, 0, rated(5, 5), "fold_in"),
        (VECTOR, 3, rated(5, 5), "hybrid"),  # of one item seen no event tells: the vector may know more
        (VECTOR, 0, rated(5, 1), "hybrid"),  # too few positives to solve
        (None, 0, rated(5, 5), "fold_in"),
        (None, 9, rated(5, 5, at=1), "fold_in"),
        (None, 0, rated(5, 1), "content"),
        (None, 0, rated(1, 2), "content"),
        (None, 3, (), "content"),
        (None, 0, (), "popular"),
        (None, 0, (Event("of another catalogue", 5.0, 1),), "popular"),
    ],
)
def test_the_first_rung_that_knows_enough_answers(
    bundles: dict[str, Bundle], vector: np.ndarray | None, seen: int, events: tuple[Event, ...], source: str
) -> None:
    answer = ask(bundles["plain"], Features(vector, frozenset(f"i{row:04d}" for row in range(seen)), events))
    assert (answer.source, answer.fault, len(answer.rows)) == (source, "", 10)


def test_positives_for_items_without_an_interaction_are_no_ground_for_a_fold_in(bundles: dict[str, Bundle]) -> None:
    events = tuple(Event(f"i{row:04d}", 5.0, CUT_US + 1) for row in (30, 31))
    assert ask(bundles["cold items"], Features(None, frozenset(), events)).source == "content"


def test_a_bundle_whose_users_cannot_be_solved_goes_on_with_the_profile(bundles: dict[str, Bundle]) -> None:
    assert ask(bundles["of late"], Features(None, frozenset(), rated(5, 5, 5))).source == "content"
    assert ask(bundles["of late"], Features(None, frozenset())).source == "popular_recent"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_cannot_say_is_popularity_with_the_fault(bundles: dict[str, Bundle], fault: str) -> None:
    answer = ask(bundles["plain"], Missing(fault))
    assert (answer.source, answer.fault, answer.rows.tolist()) == ("popular", fault, list(range(10)))


def test_a_folded_in_user_gets_the_best_inner_products_of_the_solution(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["hybrid"]
    stars = np.array([5.0, 2.0, 4.0])
    solution = FoldIn(HYBRID, bundle.item_vectors, np.ones(40, np.bool_)).solve(np.arange(3), stars)
    assert solution is not None
    scores = bundle.item_vectors @ solution
    scores[:3] = -np.inf
    answer = ask(bundle, Features(None, frozenset(), rated(*stars)))
    assert answer.rows.tolist() == np.argsort(-scores)[:10].tolist()
    np.testing.assert_allclose(answer.scores, np.sort(scores)[::-1][:10], rtol=1e-5)


@pytest.mark.parametrize("vector", [np.full(8, 3e38, np.float32), np.array([3e38, -3e38] * 4, np.float32)])
def test_scores_that_are_no_numbers_never_leave(bundles: dict[str, Bundle], vector: NDArray[np.float32]) -> None:
    answer = ask(bundles["plain"], Features(vector, frozenset({"i0000"})))
    assert (answer.source, answer.fault) == ("popular", "corrupt")
    assert answer.rows.tolist() == list(range(1, 11))
    assert np.isfinite(answer.scores).all()


@st.composite
def features(draw: st.DrawFn) -> Features | Missing:
    if draw(st.integers(0, 9)) == 0:
        return Missing(draw(st.sampled_from(FAULTS)))
    items = st.integers(0, 45).map(lambda row: f"i{row:04d}")  # some are of another catalogue
    event = st.builds(Event, items, st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0, 5.0, -7.0, 1e9]), st.integers(0, 2**53))
    events = draw(st.lists(event, max_size=60))
    seen = draw(st.frozensets(items)) | (frozenset(each.item_id for each in events) if draw(st.booleans()) else set())
    finite = st.floats(-1e3, 1e3, width=32) | st.floats(allow_nan=False, allow_infinity=False, width=32)
    vector = draw(st.none() | st.lists(finite, min_size=8, max_size=8))
    ordered = tuple(sorted(events, key=lambda each: each.timestamp_us))
    return Features(None if vector is None else np.array(vector, np.float32), seen, ordered)


rankings = st.none() | st.builds(
    RankingSettings, candidates=st.integers(50, 200), diversity=st.floats(0, 10), recency=st.floats(0, 10),
    tail_slot=st.integers(0, 20), tail_from=st.integers(20, 50),
)  # fmt: skip


@given(
    st.sampled_from([*COLUMNS, "small"]), features(), st.integers(1, 100), rankings, st.none() | st.integers(0, 2**59)
)
def test_every_answer_is_full_unseen_labelled_and_the_same_again(
    bundles: dict[str, Bundle],
    name: str,
    found: Features | Missing,
    k: int,
    ranking: RankingSettings | None,
    now_us: int | None,
) -> None:
    bundle = bundles[name]
    answer, again = (ask(bundle, found, k, ranking, now_us) for _ in range(2))
    known = set() if isinstance(found, Missing) else found.seen | {event.item_id for event in found.events}
    seen = {row for row, item in enumerate(bundle.item_ids) if item in known}
    assert len(answer.rows) == len(answer.scores) == len(set(answer.rows.tolist()))
    assert len(answer.rows) == min(k, len(bundle.item_ids) - len(seen))
    assert not set(answer.rows.tolist()) & seen
    assert answer.source in SOURCES
    if isinstance(found, Missing):
        assert answer.fault == found.fault
    else:
        assert answer.fault in ("", "corrupt")
        assert not answer.fault or np.abs(found.vector).max() > 1e9
    assert np.isfinite(answer.scores).all()
    assert answer.rows.tobytes() == again.rows.tobytes()
    assert answer.scores.tobytes() == again.scores.tobytes()
    assert answer.source == again.source
    assert set(answer.rows.tolist()) <= set(answer.retrieved.tolist()) or not (ranking and ranking.active)


def test_with_weights_the_list_is_chosen_from_the_most_relevant_and_both_are_told(bundles: dict[str, Bundle]) -> None:
    bundle, found = bundles["plain"], Features(VECTOR, frozenset({"i0000"}))
    plain = ask(bundle, found, 20)
    answer = ask(bundle, found, 10, RankingSettings(candidates=20, tail_slot=10, tail_from=20))
    assert not len(plain.retrieved)
    assert answer.retrieved.tolist() == plain.rows.tolist()
    assert answer.rows.tolist()[:9] == plain.rows.tolist()[:9]
    # Popularity falls with the row.
    assert answer.rows[9] == max(plain.rows[9:])
    assert answer.scores[9] == plain.scores[plain.rows.tolist().index(answer.rows[9])]


def test_who_all_get_the_same_list_get_no_place_for_the_tail(bundles: dict[str, Bundle]) -> None:
    ranking = RankingSettings(tail_slot=1)
    assert ask(bundles["plain"], Missing("timeout"), 10, ranking).rows.tolist() == list(range(10))
    assert ask(bundles["plain"], Features(None, frozenset({"i0000"})), 10, ranking).rows[0] == 39


def test_recency_counts_from_the_request_s_time_or_else_from_the_end_of_the_bundle(tmp_path: Path) -> None:
    day = 86_400_000_000
    last = np.r_[np.full(39, 500 * day), 1_000 * day]
    synthetic_bundle(tmp_path / "bundle", columns={"last_interaction_us": last})
    bundle = load_bundle(tmp_path / "bundle")
    ranking = RankingSettings(recency=3, recency_of="interaction", half_life_days=10)
    nobody = Features(None, frozenset())
    assert ask(bundle, nobody, 10, ranking).rows[0] == 39
    assert ask(bundle, nobody, 10, ranking, 1_000 * day).rows[0] == 39
    assert ask(bundle, nobody, 10, ranking, 9_000 * day).rows[0] == 0


def test_an_empty_catalogue_is_an_empty_list_and_no_error(tmp_path: Path) -> None:
    synthetic_bundle(tmp_path / "bundle", items=1)
    answer = ask(load_bundle(tmp_path / "bundle"), Features(None, frozenset({"i0000"}), rated(5.0)))
    assert answer.rows.tolist() == []


@given(st.lists(features(), min_size=1, max_size=20), st.integers(1, 100))
def test_a_batch_is_what_single_requests_are(
    bundles: dict[str, Bundle], found: list[Features | Missing], k: int
) -> None:
    ladder = Ladder(bundles["hybrid"], Remembered({str(number): each for number, each in enumerate(found)}))
    asked = [(str(number), 1 + (k + number) % 100) for number in range(len(found))]

    async def run() -> tuple[list[Recommendation], list[Recommendation]]:
        return await ladder.recommend_many(asked), [await ladder.recommend(*each) for each in asked]

    for many, single in zip(*asyncio.run(run()), strict=True):
        np.testing.assert_array_equal(many.rows, single.rows)
        np.testing.assert_array_equal(many.scores, single.scores)
        assert (many.source, many.fault) == (single.source, single.fault)


async def test_a_batch_reads_its_users_at_once_and_lets_others_in_between(bundles: dict[str, Bundle]) -> None:
    asked: list[int] = []

    class Watched(Remembered):
        async def read_many(self, user_ids: Sequence[str]) -> list[Features | Missing]:
            asked.append(len(user_ids))
            return await super().read_many(user_ids)

    ladder = Ladder(bundles["plain"], Watched())
    batch = asyncio.create_task(ladder.recommend_many([(str(number), 10) for number in range(256)]))
    turns = 0
    while not batch.done():
        await asyncio.sleep(0)
        turns += 1
    assert asked == [256]
    assert len(batch.result()) == 256
    assert turns > 256 // IN_A_ROW
