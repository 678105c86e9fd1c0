"""The bundle: what is written is read back; what is altered is refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import faiss
import msgspec
import numpy as np
import pytest

from bentos import payload
from bentos.bundle import PAYLOAD, load_bundle, read_manifest, set_label, write_bundle
from bentos.errors import BundleError
from bentos.index import build
from bentos.index_kinds import SQ8, Flat
from bentos.index_report import unmeasured
from tests.bentos.bundles import FOLD_IN, synthetic_bundle


def report(**changes: object) -> bytes:
    """The report of a bundle's exact index, or of something else."""
    true = unmeasured(build(np.ones((40, 8), np.float32)), faiss.__version__, "")
    return msgspec.json.encode(msgspec.structs.replace(true, **changes))


FOLD_IN_OF_64 = msgspec.json.encode(msgspec.structs.replace(FOLD_IN, dimension=64))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    synthetic_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_what_is_written_is_read_back(directory: Path) -> None:
    loaded = load_bundle(directory)
    assert loaded.item_ids[:2] == ["i0000", "i0001"]
    assert loaded.item_vectors.shape == (40, 8)
    assert loaded.user_vectors.dtype == np.float32
    assert loaded.popularity[:3].tolist() == [0, 1, 2]
    assert len(loaded.index) == 40
    assert loaded.index_report.index == loaded.index.kind == Flat()
    assert loaded.catalogue.num_rows == 40
    assert loaded.recent_popularity[:3].tolist() == [0, 1, 2]
    assert loaded.fold_in == FOLD_IN
    assert loaded.manifest.tag == f"champion:{loaded.manifest.version}"


def test_equal_models_have_equal_versions_and_labels_do_not_count(tmp_path: Path) -> None:
    one, same = synthetic_bundle(tmp_path / "one"), synthetic_bundle(tmp_path / "same")
    other = synthetic_bundle(tmp_path / "other", seed=2)
    assert one.version == same.version != other.version
    set_label(tmp_path / "one", "model_version", "7")
    assert read_manifest(tmp_path / "one").version == one.version
    assert load_bundle(tmp_path / "one").manifest.labels["model_version"] == "7"


@pytest.mark.parametrize("name", PAYLOAD)
def test_a_flipped_bit_in_any_file_is_refused_by_its_name(directory: Path, name: str) -> None:
    path = directory / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="SHA-256") as caught:
        load_bundle(directory)
    assert caught.value.file == path


@pytest.mark.parametrize("name", [*PAYLOAD, "manifest.json"])
def test_a_missing_file_is_refused_by_its_name(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(BundleError) as caught:
        load_bundle(directory)
    assert caught.value.file.name == name


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (np.zeros((40, 8)), "dtype float64"),
        (np.zeros((39, 8), np.float32), "shape"),
        (np.full((40, 8), np.nan, np.float32), "not finite"),
    ],
)
def test_vectors_of_the_wrong_kind_are_refused_without_checksums_too(
    directory: Path, vectors: np.ndarray, reason: str
) -> None:
    np.save(directory / "item_vectors.npy", vectors)
    with pytest.raises(BundleError, match=reason):
        load_bundle(directory, verify=False)


def test_ids_in_another_order_are_refused(directory: Path) -> None:
    path = directory / "user_ids.json"
    path.write_bytes(path.read_bytes().replace(b'"u0000","u0001"', b'"u0001","u0000"'))
    with pytest.raises(BundleError, match="ascending"):
        load_bundle(directory, verify=False)


def index_of(vectors: np.ndarray) -> bytes:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return faiss.serialize_index(index).tobytes()


@pytest.mark.parametrize("change", [lambda v: v[::-1].copy(), np.zeros_like, lambda v: np.where(v == v[0], np.nan, v)])
def test_an_index_over_other_vectors_is_refused(directory: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    vectors = np.load(directory / "item_vectors.npy")
    (directory / "index.faiss").write_bytes(index_of(change(vectors)))
    with pytest.raises(BundleError, match=r"holds other vectors than item_vectors\.npy") as caught:
        load_bundle(directory, verify=False)
    assert caught.value.file.name == "index.faiss"


def test_an_index_with_another_metric_is_refused(directory: Path) -> None:
    index = faiss.IndexFlatL2(8)
    index.add(np.load(directory / "item_vectors.npy"))
    (directory / "index.faiss").write_bytes(faiss.serialize_index(index).tobytes())
    with pytest.raises(BundleError, match="metric is not the inner product"):
        load_bundle(directory, verify=False)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("index.json", b"garbage", "not a report of an index"),
        (
            "index.json",
            report(items=41),
            "it tells of 41 vectors of 8 dimensions",
        ),
        ("index.json", report(metric="l2"), "it tells of 40 vectors of 8 dimensions, l2"),
        ("index.json", report(index=SQ8()), "a IndexFlatIP, not a IndexScalarQuantizer"),
        ("index.json", report(largest_norm=1.0), "it tells of a largest norm of 1, that of item_vectors.npy is"),
        ("item_ids.json", b'["\xff"]', "not a list of ids"),
        ("user_ids.json", b'{"a":1}', "not a list of ids"),
        ("fold_in.json", b'{"dimension":8}', "no settings of a fold-in"),
        ("fold_in.json", FOLD_IN_OF_64, "do not make item vectors of 8"),
        ("popularity.json", b'["i0000"]', "order of the catalogue's popularity"),
        ("item_vectors.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': ((((", "not a .npy file"),
        ("catalogue.parquet", b"PAR1PAR1", "not a Parquet file"),
        ("index.faiss", b"IxFI", "not a FAISS index"),
        ("manifest.json", b"\xff", "not a manifest"),
    ],
)
def test_nonsense_in_a_file_is_refused_by_its_name(directory: Path, name: str, content: bytes, reason: str) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(BundleError, match=reason) as caught:
        load_bundle(directory, verify=False)
    # A report and an index that disagree are told by the index's name: the report is what was expected of it.
    assert caught.value.file.name == ("index.faiss" if "Scalar" in reason else name)


def test_popularity_in_another_order_is_refused(directory: Path) -> None:
    path = directory / "popularity.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes())[::-1]))
    with pytest.raises(BundleError, match="order of the catalogue's popularity"):
        load_bundle(directory, verify=False)


def test_a_manifest_that_names_another_version_is_refused(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(path.read_text().replace(read_manifest(directory).version, "0" * 12))
    with pytest.raises(BundleError, match="not the digest of the payload"):
        load_bundle(directory)


def test_a_full_disk_leaves_the_old_bundle_and_nothing_half_written(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_manifest(directory).version

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(payload.indexes, "save", full)
    with pytest.raises(OSError, match="No space"):
        synthetic_bundle(directory, seed=3)
    assert load_bundle(directory).manifest.version == before
    assert [path.name for path in directory.parent.iterdir()] == ["bundle"]


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds no bundle"):
        synthetic_bundle(tmp_path / "home")
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_ids_that_are_not_ascending_are_refused_when_writing(tmp_path: Path, directory: Path) -> None:
    loaded = load_bundle(directory)
    with pytest.raises(ValueError, match="ascending order"):
        write_bundle(
            tmp_path / "new",
            name="x",
            item_ids=loaded.item_ids,
            item_vectors=np.array(loaded.item_vectors),
            user_ids=["b", "a"],
            user_vectors=np.zeros((2, 8), np.float32),
            catalogue=loaded.catalogue,
            fold_in=None,
            labels={},
        )


def test_a_moved_bundle_is_as_good(directory: Path, tmp_path: Path) -> None:
    shutil.move(directory, tmp_path / "elsewhere")
    assert load_bundle(tmp_path / "elsewhere").manifest.items == 40
