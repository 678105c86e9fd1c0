"""The index: every kind is built to the same bytes, read back, and refused when it holds anything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import msgspec
import numpy as np
import pytest

from bentos.index import NEVER, Kind, VectorIndex, build, load, save
from bentos.index_kinds import BLAS_FROM, SQ8, Flat, HnswIp, building
from bentos.index_lists import IvfIp, IvfL2, IvfRanged
from tests.bentos.indexes import KINDS

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
HANDS_ON = [kind for kind in KINDS if not isinstance(kind, Flat)]


def vectors(items: int = 500, dimension: int = 6) -> np.ndarray:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((items, dimension)) * np.exp(rng.standard_normal((items, 1)))
    return rows.astype(np.float32)


VECTORS = vectors()


def saved(tmp_path: Path, index: VectorIndex) -> Path:
    path = tmp_path / "index.faiss"
    save(index, path)
    return path


@every_kind
def test_equal_vectors_give_equal_bytes_and_equal_answers(tmp_path: Path, kind: Kind) -> None:
    faiss.omp_set_num_threads(2)
    one, two = build(VECTORS, kind), build(VECTORS.copy(), kind)
    path = saved(tmp_path, one)
    first = path.read_bytes()
    save(two, path)
    assert path.read_bytes() == first
    np.testing.assert_array_equal(one.propose(VECTORS[:50], 64), two.propose(VECTORS[:50], 64))


@every_kind
def test_what_is_saved_is_read_back_and_answers_the_same(tmp_path: Path, kind: Kind) -> None:
    index = build(VECTORS, kind)
    again = load(saved(tmp_path, index), VECTORS, index.kind)
    assert again.kind == index.kind
    assert again.largest_norm == pytest.approx(float(np.linalg.norm(VECTORS, axis=1).max()))
    np.testing.assert_array_equal(again.propose(VECTORS[:50], 64), index.propose(VECTORS[:50], 64))


@every_kind
def test_a_kind_is_the_same_after_json(kind: Kind) -> None:
    assert msgspec.json.decode(msgspec.json.encode(kind), type=Kind) == kind


def swapped(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    rows[[7, 401]] = rows[[401, 7]]
    return rows


CHANGES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    swapped,
    np.zeros_like,
    lambda rows: rows[::-1].copy(),
    lambda rows: np.where(np.arange(len(rows))[:, None] == 9, rows * 2, rows),
)


@every_kind
@pytest.mark.parametrize("change", CHANGES)
def test_an_index_over_other_vectors_is_refused(
    tmp_path: Path, kind: Kind, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    index = build(change(VECTORS), kind)
    path = saved(tmp_path, index)
    with pytest.raises(ValueError, match=r"holds other vectors than item_vectors\.npy"):
        load(path, VECTORS, index.kind)


@every_kind
def test_an_index_over_fewer_vectors_or_dimensions_is_refused(tmp_path: Path, kind: Kind) -> None:
    index = build(VECTORS, kind)
    path = saved(tmp_path, index)
    with pytest.raises(ValueError, match="holds 500 vectors"):
        load(path, VECTORS[:-1], index.kind)
    with pytest.raises(ValueError, match=r"dimensions, not 500 of"):
        load(path, VECTORS[:, :-1].copy(), index.kind)


@pytest.mark.parametrize("kind", HANDS_ON, ids=lambda kind: kind.name)
def test_an_index_of_another_kind_is_refused(tmp_path: Path, kind: Kind) -> None:
    index = build(VECTORS, kind)
    path = saved(tmp_path, index)
    other = IvfIp(nlist=3) if isinstance(kind, HnswIp) else HnswIp()
    with pytest.raises(ValueError, match=r"a Index\w+, not a Index\w+|dimensions"):
        load(path, VECTORS, other)


@pytest.mark.parametrize(
    ("kind", "told", "reason"),
    [
        (IvfIp(nlist=6, nprobe=2), {"nprobe": 3}, "has 6 lists, 6 centroids and nprobe 2, not nlist 6, nprobe 3"),
        (IvfL2(nlist=6, nprobe=2), {"nlist": 5}, "has 6 lists"),
        (HnswIp(m=4, ef=9), {"ef": 8}, "a graph of m 4, ef_construction 80, ef 9, not of m 4"),
        (HnswIp(m=4), {"m": 5}, "a graph of m 4"),
        (HnswIp(m=4), {"ef_construction": 81}, "a graph of m 4"),
    ],
)
def test_other_parameters_than_told_are_refused(tmp_path: Path, kind: Kind, told: dict[str, int], reason: str) -> None:
    path = saved(tmp_path, build(VECTORS, kind))
    with pytest.raises(ValueError, match=reason):
        load(path, VECTORS, msgspec.structs.replace(kind, **told))


def test_another_metric_than_told_is_refused(tmp_path: Path) -> None:
    wider = np.hstack([VECTORS, np.zeros((500, 1), np.float32)])
    under_ip = build(wider, IvfIp(nlist=4))
    with pytest.raises(ValueError, match="its metric is not L2"):
        load(saved(tmp_path, under_ip), VECTORS, IvfL2(nlist=4))


def test_codes_of_four_bits_are_refused(tmp_path: Path) -> None:
    coarse = faiss.IndexScalarQuantizer(6, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT)
    coarse.train(VECTORS)
    coarse.add(VECTORS)
    path = tmp_path / "index.faiss"
    path.write_bytes(faiss.serialize_index(coarse).tobytes())
    with pytest.raises(ValueError, match="not of eight bits"):
        load(path, VECTORS, SQ8())


@pytest.mark.parametrize("instead", [10, 500, -1])
def test_a_list_that_names_a_row_twice_or_one_that_is_not_there_is_refused(tmp_path: Path, instead: int) -> None:
    rows = VECTORS.copy()
    rows[20] = rows[10]
    index = build(rows, IvfIp(nlist=6))
    lists = index.faiss.invlists
    for number in range(6):
        there = faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number))
        there[there == 20] = instead
    with pytest.raises(ValueError, match="holds other vectors"):
        load(saved(tmp_path, index), rows, index.kind)


def test_whatever_the_process_is_set_to_an_index_is_built_by_one_thread_and_the_setting_comes_back() -> None:
    threads, products = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(2)
    faiss.cvar.distance_compute_blas_threshold = 7
    inside = []

    def fail() -> None:
        with building():
            inside.append((faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold))
            raise KeyError

    try:
        with pytest.raises(KeyError):
            fail()
        assert inside == [(1, BLAS_FROM)]
        assert (faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold) == (2, 7)
    finally:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = products


@pytest.mark.parametrize("made", ["built", "loaded"])
def test_whatever_the_process_is_set_to_an_index_is_asked_by_one_thread_without_matrix_products(
    tmp_path: Path, made: str
) -> None:
    path = saved(tmp_path, build(VECTORS))
    faiss.omp_set_num_threads(2)
    faiss.cvar.distance_compute_blas_threshold = 7
    if made == "built":
        build(VECTORS)
    else:
        load(path, VECTORS, Flat())
    assert (faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold) == (1, NEVER)


@every_kind
def test_every_kind_is_built_inside_that(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    original, found = type(kind).build, list[int]()

    def watched(self: Kind, rows: np.ndarray) -> tuple[Kind, object]:
        found.append(faiss.omp_get_max_threads())
        return original(self, rows)

    monkeypatch.setattr(type(kind), "build", watched)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        build(VECTORS, kind)
    finally:
        faiss.omp_set_num_threads(threads)
    assert found == [1]


def test_the_reduction_makes_the_nearest_of_the_largest_inner_product() -> None:
    """By hand: M = 5; (3, 4) becomes (3, 4, 0), (0, 1) becomes (0, 1, √24)."""
    kind = IvfL2(nlist=1)
    rows = np.array([[3, 4], [0, 1]], np.float32)
    np.testing.assert_allclose(kind.stored(rows, 5.0), [[3, 4, 0], [0, 1, 24**0.5]], rtol=1e-6)
    assert kind.asked(rows).tolist() == [[3, 4, 0], [0, 1, 0]]
    query = np.array([[0.0, -1.0]], np.float32)
    assert build(rows, kind).propose(query, 2).tolist() == [[1, 0]]


def test_a_list_is_chosen_by_what_its_best_item_may_score() -> None:
    """One long vector, alone in its band, and many short ones in the same direction."""
    rng = np.random.default_rng(1)
    short = np.array([1, 0], np.float32) + 0.05 * rng.standard_normal((200, 2)).astype(np.float32)
    index = build(np.vstack([short, [[0.0, 9.0]]]).astype(np.float32), IvfRanged(nlist=2, bands=5))
    assert index.propose(np.array([[0.2, 1.0]], np.float32), 1).tolist() == [[200]]


def test_every_vector_is_in_one_band() -> None:
    kind, index = IvfRanged(nlist=12, bands=4), build(VECTORS, IvfRanged(nlist=12, bands=4))
    assert index.kind.nlist >= kind.bands
    lists = index.faiss.invlists
    assert sum(lists.list_size(number) for number in range(index.kind.nlist)) == 500


def test_nonsense_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "index.faiss").write_bytes(b"IxFI")
    with pytest.raises(ValueError, match="not a FAISS index"):
        load(tmp_path / "index.faiss", VECTORS, Flat())
