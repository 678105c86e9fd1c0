"""`understudy index build`: the bundle gets the index that was measured, in one rename, and a version with it."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from bentos.bundle import load_bundle, read_manifest, set_label, write_bundle
from bentos.index_cli import index
from bentos.index_plot import LOOKS, plot
from bentos.index_record import TABLE, metrics, table
from bentos.index_timing import Measurements
from bentos.retrieval import search
from bentos.seen import FACTS, STAND_IN, from_facts, from_pairs
from tests.bentos.bundles import synthetic_bundle

ITEMS, USERS = 12_000, 120


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("original") / "bundle"
    synthetic_bundle(directory, items=ITEMS, users=USERS)
    return directory


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    pairs = [(f"u{user:04d}", f"i{item:05d}") for user in range(USERS) for item in range(user % 7 + 1)]
    path = tmp_path / "facts.parquet"
    users, items = zip(*pairs, strict=True)
    pq.write_table(pa.table({"user_id": users, "item_id": items, "rating": [4.0] * len(pairs)}), path)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(index, [*map(str, arguments)])


def test_the_bundle_gets_its_index_and_a_new_version(bundle: Path, facts: Path) -> None:
    set_label(bundle, "model_version", "7")
    old = read_manifest(bundle)
    done = run("build", bundle, "--facts", facts)
    assert done.exit_code == 0, done.output
    new = load_bundle(bundle)
    assert f"champion: {old.version} → {new.manifest.version}" in done.stdout
    assert new.manifest.version != old.version
    assert new.manifest.labels == {"data_hash": "none", "index_of": old.version}
    unchanged = set(old.files) - {"index.faiss", "index.json"}
    assert {new.manifest.files[name] == old.files[name] for name in unchanged} == {True}
    assert (new.index_report.seen, new.index_report.users) == (FACTS, USERS // 2)
    rows, scores = search(new.index, new.user_vectors[3], 10, {1, 2})
    assert len(rows) == 10
    assert scores[0] == pytest.approx(float(new.item_vectors[rows[0]] @ new.user_vectors[3]), rel=1e-5)
    lines = [line.split()[:1] for line in done.stdout.splitlines()]
    assert [["▸"] in lines, ["IVF-IP"] in lines] == [True, True]
    assert {each.name for each in bundle.parent.iterdir()} == {"bundle", "bundle-index", "facts.parquet"}


def test_a_second_time_nothing_changes(bundle: Path, facts: Path) -> None:
    run("build", bundle, "--facts", facts, "--kinds", "IVF-ranged, SQ8")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    done = run("build", bundle, "--facts", facts, "--kinds", "SQ8,IVF-ranged")
    assert done.stdout.splitlines()[-2].endswith(": unchanged")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_json_is_for_machines_and_the_stand_in_is_named(bundle: Path, tmp_path: Path) -> None:
    done = run("build", bundle, "--kinds", "IVF-ranged", "--out", tmp_path / "there", "--json")
    found = msgspec.json.decode(done.stdout)
    assert found["version"] == read_manifest(bundle).version == found["measurements"]["version"]
    assert found["report"]["seen"] == STAND_IN
    stored = msgspec.json.decode((tmp_path / "there" / "measured.json").read_bytes(), type=Measurements)
    assert [each.candidate.index.name for each in stored.candidates] == ["Flat", "IVF-ranged"]
    assert {each.kind for each in stored.points} <= {"IVF-ranged"}
    for timed in stored.candidates:
        assert 0 < timed.times.p50_ms <= timed.times.p95_ms <= timed.times.p99_ms
    numbers = msgspec.json.decode((tmp_path / "there" / "metrics.json").read_bytes())
    assert numbers == metrics(stored)
    assert not any("@" in name for name in numbers)
    assert (tmp_path / "there" / TABLE).read_text() == table(stored) + "\n"
    root = ElementTree.fromstring((tmp_path / "there" / "recall_latency.svg").read_text())
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Flat", "target 0.995"} <= {str(word).removesuffix(", kept") for word in words}


def test_times_are_never_in_the_payload(bundle: Path) -> None:
    run("build", bundle, "--kinds", "IVF-L2")
    report = (bundle / "index.json").read_text()
    assert "second" not in report
    assert "_ms" not in report


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--kinds", "LSH"), "no kind of index 'LSH'"),
        (("--facts", "manifest.json"), "not a facts file"),
        (("--facts", "catalogue.parquet"), "no column user_id"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_the_bundle(
    bundle: Path, arguments: tuple[str, str], told: str
) -> None:
    before = read_manifest(bundle)
    flag, value = arguments
    done = run("build", bundle, flag, bundle / value if flag == "--facts" else value)
    assert done.exit_code == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert read_manifest(bundle) == before


def test_an_altered_bundle_is_not_built_upon(bundle: Path) -> None:
    (bundle / "item_vectors.npy").write_bytes(b"")
    done = run("build", bundle)
    assert done.exit_code == 2
    assert "item_vectors.npy: 0 bytes, the manifest says" in done.stderr


def test_facts_of_others_are_refused(tmp_path: Path, facts: Path) -> None:
    source = from_facts(facts, ["x", "y"], ["i00000"])
    with pytest.raises(ValueError, match="nothing of this bundle"):
        source.of(np.arange(2))


def test_facts_and_pairs_say_the_same(facts: Path) -> None:
    table = pq.read_table(facts)
    users, items = (np.array([int(each[1:]) for each in table[name].to_pylist()]) for name in ("user_id", "item_id"))
    names = [f"u{user:04d}" for user in range(USERS)], [f"i{item:05d}" for item in range(ITEMS)]
    wanted = np.array([5, 118, 0])
    told = from_facts(facts, *names).of(wanted)
    assert told == from_pairs(users, items, USERS).of(wanted)
    assert [len(each) for each in told] == [6, 7, 1]


def test_a_bundle_too_small_to_measure_has_a_reason_and_no_picture(tmp_path: Path) -> None:
    synthetic_bundle(tmp_path / "small")
    done = run("build", tmp_path / "small")
    assert "exact: fewer than 1,000 items" in done.stdout
    assert {each.name for each in (tmp_path / "small-index").iterdir()} == {
        "measured.json",
        "metrics.json",
        "table.txt",
    }


def test_every_kind_has_a_look_of_its_own() -> None:
    assert len({mark for _, mark in LOOKS.values()}) == len({colour for colour, _ in LOOKS.values()}) == 6
    empty = Measurements(
        version="", items=1, dimension=1, target=1, users=0, seen="", reason="", candidates=[], points=[]
    )
    assert plot(empty) == ""


def test_the_choice_is_heard_once_the_bundle_is_there(tmp_path: Path, original: Path) -> None:
    loaded, heard = load_bundle(original), []
    manifest = write_bundle(
        tmp_path / "new",
        name="x",
        item_ids=loaded.item_ids[:5],
        item_vectors=loaded.item_vectors[:5],
        user_ids=[],
        user_vectors=loaded.user_vectors[:0],
        catalogue=loaded.catalogue.slice(0, 5),
        fold_in=None,
        labels={},
        chosen=lambda choice, version: heard.append((version, len(choice.index), (tmp_path / "new").exists())),
    )
    assert heard == [(manifest.version, 5, True)]
