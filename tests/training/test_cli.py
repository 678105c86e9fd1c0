"""The room's commands from end to end, on made-up ratings in the csv form."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from mlflow.tracking import MlflowClient

from bentos.bundle import read_manifest
from shadow.cli import main
from training.cli import make_room
from training.command_parts import PROBE_BYTES, ensure_writable
from training.protocols import PROTOCOLS
from training.synthetic import synthetic_interactions

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
CONFIGURATION = """
name = "small"
about = "for the test"
[ials]
dimension = 4
sweeps = 2
"""
SPACE = CONFIGURATION.replace("[ials]", "[experiment.ials]").replace("name", "[experiment]\nname", 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data of 200 users, a configuration and a search space."""
    directory = tmp_path_factory.mktemp("commands")
    table = synthetic_interactions(4, users=200, items=60, per_user=20)
    (directory / "data").mkdir()
    lines = ["userId,movieId,rating,timestamp"]
    for user, item, rating, time in zip(table.user, table.item, table.rating, table.timestamp_us, strict=True):
        lines.append(f"{user + 1},{item + 1},{rating:g},{time // 1_000_000}")
    (directory / "data" / "ratings.csv").write_text("\n".join(lines) + "\n")
    films = [f'{item + 1},"Film, The {item} (199{item % 10})",Genre {item % 4}' for item in range(60)]
    (directory / "data" / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]) + "\n")
    (directory / "small.toml").write_text(CONFIGURATION)
    (directory / "hybrid.toml").write_text(CONFIGURATION.replace("small", "hybrid") + "[content]\nleast_items = 2\n")
    (directory / "space.toml").write_text("origins = 4\n" + SPACE + "[try.ials]\nregularisation = [0.5, 1.0]\n")
    return directory


def run(place: Path, *arguments: str, environment: dict[str, str] | None = None) -> Result:
    words = [each.format(place=place) for each in arguments]
    settings = {"UNDERSTUDY_DATA_DIR": str(place / "cache"), "UNDERSTUDY_TORCH_THREADS": "1"}
    return CliRunner().invoke(main, words, env=settings | (environment or {}))


DATA = ("--data", "{place}/data")
TRACKING = ("--tracking", "sqlite:///{place}/mlflow.db")


def test_data_is_described(place: Path) -> None:
    done = run(place, "data", "describe", *DATA)
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()] == ["part", "train", "validation", "test"]


def test_lines_that_repeat_a_user_and_a_film_are_counted(place: Path) -> None:
    (place / "repeated").mkdir()
    for each in ("ratings.csv", "movies.csv"):
        (place / "repeated" / each).write_bytes((place / "data" / each).read_bytes())
    lines = (place / "data" / "ratings.csv").read_text().splitlines()[1:4]
    with (place / "repeated" / "ratings.csv").open("a") as out:
        out.writelines(f"{line}\n" for line in lines)
    done = run(place, "data", "describe", "--data", "{place}/repeated")
    assert "3 lines left out: the user had rated the film before" in done.stdout
    assert "3 lines left out, for the user had rated the film before" in done.stderr
    plain = run(place, "data", "describe", *DATA)
    assert done.stdout.splitlines()[:4] == plain.stdout.splitlines()


@pytest.mark.parametrize("name", ["small", "hybrid"])
def test_a_model_is_trained_and_tells_seconds_and_memory(place: Path, name: str) -> None:
    out = "{place}/bundles/" + name
    done = run(place, "train", f"{{place}}/{name}.toml", "--bundle", out, "--alias", "champion", *DATA, *TRACKING)
    assert done.exit_code == 0, done.output
    assert "alias champion" in done.output
    assert "peak memory" in done.output
    assert (place / "bundles" / name / "manifest.json").is_file()


def test_the_test_period_is_scored_once_and_again_only_with_a_reason(place: Path) -> None:
    users = ("--per-user", "{place}/users.parquet")
    command = ("evaluate", "{place}/small.toml", "--out", "{place}/e.json", "--references", *users, *DATA, *TRACKING)
    done = run(place, *command)
    assert done.exit_code == 0, done.output
    report = json.loads((place / "e.json").read_text())
    names = [model["name"] for model in report["models"]]
    assert names[-3:] == ["small", "item-kNN", "EASE"]
    assert set(pq.read_table(place / "users.parquet")["model"].to_pylist()) == set(names)
    refused = run(place, *command)
    assert refused.exit_code == 2
    assert "--again" in refused.output
    assert run(place, *command, "--again", "a test of the test").exit_code == 0


@pytest.mark.parametrize("command", ["evaluate", "protocols"])
@pytest.mark.parametrize("reason", ["", " \t"])
def test_a_reason_that_says_nothing_is_refused(place: Path, command: str, reason: str) -> None:
    out = ("--out", "{place}/unreasoned.json") if command == "evaluate" else ()
    done = run(place, command, "{place}/small.toml", "--again", reason, *out, *DATA, *TRACKING)
    assert done.exit_code == 2
    assert done.output.startswith("error: --again needs the reason in words")
    assert done.output.count("\n") == 1


UNWRITABLE = [
    (("evaluate", "{place}/unscored.toml"), "--out"),
    (("evaluate", "{place}/unscored.toml", "--out", "{place}/unscored.json"), "--per-user"),
    (("evaluate", "{place}/unscored.toml", "--rolling", "4"), "--out"),
    (("tune", "{place}/space.toml"), "--out"),
]


@pytest.mark.parametrize(("command", "option"), UNWRITABLE)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_computed_or_used(
    place: Path, command: tuple[str, ...], option: str
) -> None:
    (place / "unscored.toml").write_text(CONFIGURATION.replace("sweeps = 2", "sweeps = 5"))
    (place / "file").write_text("")
    store = ("--tracking", "sqlite:///{place}/unused/mlflow.db")
    for where in ("{place}/nowhere/x", "{place}/file/x"):
        done = run(place, *command, option, where, *DATA, *store)
        assert done.exit_code == 2
        assert done.output.startswith("error: ")
        assert "Make its directory, or choose another place" in done.output
        assert where.format(place=place) in done.output
    assert not (place / "unused").exists()


def test_a_file_that_may_not_be_written_is_told_and_one_that_may_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")
    ensure_writable(tmp_path / "there")
    ensure_writable(tmp_path / "there", replaced=True)
    ensure_writable(tmp_path / "new")
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"there": "before"}
    with pytest.raises(IsADirectoryError, match="choose another place"):
        ensure_writable(tmp_path)


@contextmanager
def little_room() -> Iterator[None]:
    """As on a full disk an empty file can be made: the most that one may hold is bounded."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (PROBE_BYTES - 1, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_place_without_room_is_told_though_an_empty_file_could_be_made_there(tmp_path: Path) -> None:
    told = pytest.raises(OSError, match=r"File too large, so nothing was computed.*choose another place")
    with told, little_room():
        ensure_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_is_told_before_mlflow_opens_it(tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("")
    for name in ("new.db", "there.db"):
        with pytest.raises(OSError, match="choose another place"), little_room():
            make_room(f"sqlite:///{tmp_path / name}")
    (tmp_path / "directory.db").mkdir()
    with pytest.raises(IsADirectoryError, match=r"choose another place.*directory\.db"):
        make_room(f"sqlite:///{tmp_path / 'directory.db'}")
    make_room(f"sqlite:///{tmp_path / 'deep' / 'new.db'}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["deep", "directory.db", "there.db"]


SAME = [
    ("evaluate", "{place}/unscored.toml", "--out", "{place}/both", "--per-user", "{place}/data/../both"),
    ("evaluate", "{place}/unscored.toml", "--out", "{place}/unscored.toml"),
    ("evaluate", "{place}/unscored.toml", "--out", "{place}/e.json", "--per-user", "{place}/unscored.toml"),
    ("tune", "{place}/unscored.toml", "--out", "{place}/unscored.toml"),
]


@pytest.mark.parametrize("command", SAME)
def test_results_do_not_take_the_place_of_each_other_or_of_what_is_read(place: Path, command: tuple[str, ...]) -> None:
    (place / "unscored.toml").write_text(CONFIGURATION)
    done = run(place, *command, *DATA, "--tracking", "sqlite:///{place}/unused/mlflow.db")
    assert done.exit_code == 2
    assert "is named twice" in done.output
    assert (place / "unscored.toml").read_text() == CONFIGURATION
    assert not (place / "unused").exists()


def test_rolling_evaluation_may_be_repeated_and_is_no_use_of_the_test_period(place: Path) -> None:
    files = ("{place}/rolled.toml", "{place}/hybrid.toml")
    (place / "rolled.toml").write_text(CONFIGURATION.replace("small", "rolled").replace("sweeps = 2", "sweeps = 3"))
    command = ("evaluate", *files, "--rolling", "4", "--out", "{place}/r.json", *DATA, *TRACKING)
    for _ in range(2):
        done = run(place, *command, "--references")
        assert done.exit_code == 0, done.output
    report = json.loads((place / "r.json").read_text())
    models = {model["name"]: model for model in report["models"]}
    assert list(models)[-4:] == ["rolled", "hybrid", "item-kNN", "EASE"]
    assert len(report["origins_us"]) == 4
    assert models["rolled"]["to_first"] == {"over": "rolled", "mean": 0.0, "standard_error": 0.0}
    best = models[report["baseline"]]
    assert best["to_popularity"]["mean"] == 0.0
    gained = models["hybrid"]["map_at_10"] - best["map_at_10"]
    assert models["hybrid"]["to_popularity"]["mean"] == pytest.approx(gained)
    assert 0 < models["hybrid"]["to_popularity"]["standard_error"] < 1
    assert "peak memory" in done.output
    assert "4 origins, all before the test period" in done.output
    # The test period has not seen the model yet.
    once = ("evaluate", files[0], "--out", "{place}/e.json", *DATA, *TRACKING)
    assert run(place, *once).exit_code == 0
    assert run(place, *once).exit_code == 2


@pytest.mark.parametrize("option", [("--again", "why not"), ("--per-user", "{place}/u.parquet")])
def test_rolling_evaluation_refuses_what_belongs_to_the_test_period(place: Path, option: tuple[str, str]) -> None:
    done = run(place, "evaluate", "{place}/small.toml", "--rolling", "4", "--out", "{place}/r.json", *option, *DATA)
    assert done.exit_code == 2
    assert "it is not the test period" in done.output
    few = run(place, "evaluate", "{place}/small.toml", "--rolling", "3", "--out", "{place}/r.json", *DATA)
    assert few.exit_code == 2


def test_two_models_of_one_name_cannot_be_told_apart(place: Path) -> None:
    (place / "twin.toml").write_text(CONFIGURATION.replace("sweeps = 2", "sweeps = 1"))
    done = run(place, "evaluate", "{place}/small.toml", "{place}/twin.toml", "--out", "{place}/e.json", *DATA)
    assert done.exit_code == 2
    assert "twin.toml: name = 'small' is taken" in done.output


def test_a_search_tells_every_trial_and_writes_the_winner(place: Path) -> None:
    done = run(place, "tune", "{place}/space.toml", "--out", "{place}/tuned.json", *DATA, *TRACKING)
    assert done.exit_code == 0, done.output
    found = json.loads((place / "tuned.json").read_text())
    assert len(found["trials"]) == 2
    assert found["winner"]["name"] == "small"
    assert "2 trials at 4 origins" in done.output


def test_protocols_are_printed_and_are_json_for_machines(place: Path) -> None:
    store = ("--tracking", "sqlite:///{place}/protocols.db")
    done = run(place, "protocols", "{place}/small.toml", *DATA, *store)
    assert done.exit_code == 0, done.output
    assert "random, ≥ 4: leaks" in done.output
    searched = ("protocols", "{place}/small.toml", "--space", "{place}/space.toml", "--json", *DATA, *store)
    rows = json.loads(run(place, *searched, "--again", "for the test").output)
    # Each global protocol has two rows; a split at random is no protocol to choose for.
    assert [row["settings"] is None for row in rows] == [True, False, True, False, True, False, True]


def test_protocols_use_the_test_period_once_as_evaluate_does(place: Path) -> None:
    store = ("--tracking", "sqlite:///{place}/once.db")
    protocols = ("protocols", "{place}/small.toml", *DATA, *store)
    evaluate = ("evaluate", "{place}/small.toml", "--out", "{place}/once.json", *DATA, *store)
    assert run(place, *protocols).exit_code == 0
    for command in (protocols, evaluate):
        refused = run(place, *command)
        assert refused.exit_code == 2
        assert "small with these settings was scored on the test period" in refused.output
    # A default that is written out is no other model.
    (place / "written.toml").write_text(CONFIGURATION + "positive = 3.75\n[ials.weights]\n5 = 1\n3 = 0\n")
    written = run(place, "evaluate", "{place}/written.toml", "--out", "{place}/once.json", *DATA, *store)
    assert written.exit_code == 2
    assert "--again" in written.output
    assert run(place, *evaluate, "--again", "for the test").exit_code == 0
    client = MlflowClient(f"sqlite:///{place}/once.db")
    runs = client.search_runs([client.get_experiment_by_name("protocols").experiment_id])
    assert [each.data.tags["protocol"] for each in sorted(runs, key=lambda run: run.info.start_time)] == [
        each.name for each in PROTOCOLS
    ]
    assert all(each.data.metrics["map_at_10"] > 0 for each in runs)


def tagged(place: Path, name: str, later: str) -> Path:
    """The data with tags: each film's by its number, before the cut; `later` ones are of the test period."""
    directory = place / name
    directory.mkdir()
    for each in ("ratings.csv", "movies.csv"):
        (directory / each).write_bytes((place / "data" / each).read_bytes())
    lines = ["userId,movieId,tag,timestamp", *(f"1,{film},taste {film % 3},900000000" for film in range(1, 61))]
    if later:
        lines += [f"1,{film},{later} {film % 2},2000000000" for film in range(1, 61)]
    (directory / "tags.csv").write_text("\n".join(lines) + "\n")
    return directory


def test_a_hybrid_learns_from_the_tags_before_the_cut_and_from_no_later_ones(place: Path) -> None:
    versions = {}
    for name, later in (("honest", ""), ("garbled", "word"), ("others", "another")):
        tagged(place, name, later)
        data = ("--data", f"{{place}}/{name}")
        done = run(place, "train", "{place}/hybrid.toml", "--bundle", f"{{place}}/{name}-bundle", *data, *TRACKING)
        assert done.exit_code == 0, done.output
        versions[name] = read_manifest(place / f"{name}-bundle").version
    assert len(set(versions.values())) == 1
    done = run(place, "train", "{place}/hybrid.toml", "--bundle", "{place}/no-tags-bundle", *DATA, *TRACKING)
    assert done.exit_code == 0, done.output
    assert read_manifest(place / "no-tags-bundle").version not in versions.values()


@pytest.mark.parametrize("command", ["train", "evaluate", "protocols", "tune"])
def test_a_device_that_is_not_there_is_one_line_with_the_remedy(place: Path, command: str) -> None:
    file = "{place}/space.toml" if command == "tune" else "{place}/small.toml"
    outs = {"train": ("--bundle", "{place}/none"), "protocols": ()}
    done = run(place, command, file, "--device", "cuda:9", *outs.get(command, ("--out", "{place}/none.json")), *DATA)
    assert done.exit_code == 2
    assert done.output.startswith("error: device 'cuda:9' cannot be used: ")
    assert "Take cpu" in done.output
    assert done.output.count("\n") == 1


def test_the_device_may_come_from_the_environment_and_the_flag_goes_before_it(place: Path) -> None:
    command = ("train", "{place}/small.toml", "--bundle", "{place}/placed", *DATA, *TRACKING)
    environment = {"UNDERSTUDY_TORCH_DEVICE": "cuda:8"}
    refused = run(place, *command, environment=environment)
    assert refused.exit_code == 2
    assert "device 'cuda:8'" in refused.output
    assert run(place, *command, "--device", "cpu", environment=environment).exit_code == 0


def test_a_directory_without_data_is_one_line_and_exit_2(place: Path) -> None:
    done = run(place, "data", "describe", "--data", "{place}/bundles")
    assert done.exit_code == 2
    assert done.output.startswith("error: ")


@pytest.fixture(scope="module")
def made_up(place: Path) -> Path:
    """A directory that `data synth` wrote."""
    sizes = ("--users", "300", "--items", "120", "--interactions", "4000", "--norms", "lognormal", "--dimension", "8")
    targets = ("--out", "{place}/synthetic", "--bundle", "{place}/vectors", "--facts", "{place}/facts.parquet")
    done = run(place, "data", "synth", *sizes, *targets)
    assert done.exit_code == 0, done.output
    assert "SYNTHETIC: 4,000 interactions of 300 users with 120 items" in done.output
    assert "peak memory" in done.output
    return place / "synthetic"


def test_made_up_data_is_known_as_such_in_every_place(place: Path, made_up: Path) -> None:
    source = ("--data", str(made_up))
    described = run(place, "data", "describe", *source)
    assert "SYNTHETIC, generator" in described.output
    assert run(place, "train", "{place}/small.toml", "--bundle", "{place}/fitted", *source, *TRACKING).exit_code == 0
    labels = json.loads((place / "fitted" / "manifest.json").read_text())["labels"]
    assert labels["synthetic"].startswith("SYNTHETIC, generator")
    done = run(place, "evaluate", "{place}/small.toml", "--out", "{place}/made-up.json", *source, *TRACKING)
    assert "SYNTHETIC data; nothing about quality follows from it" in done.output
    assert json.loads((place / "made-up.json").read_text())["synthetic"] == labels["synthetic"]
    words = labels["synthetic"]
    users = ("--per-user", "{place}/made-up.parquet", "--again", "for the test")
    run(place, "evaluate", "{place}/small.toml", "--out", "{place}/made-up.json", *users, *source, *TRACKING)
    run(place, "data", "facts", "--out", "{place}/made-up-facts.parquet", *source)
    for name in ("made-up", "made-up-facts", "facts"):
        assert pq.read_schema(place / f"{name}.parquet").metadata[b"synthetic"].decode() == words
    run(place, "tune", "{place}/space.toml", "--out", "{place}/made-up-tuned.json", *source, *TRACKING)
    assert json.loads((place / "made-up-tuned.json").read_text())["synthetic"] == words
    again = run(place, "protocols", "{place}/small.toml", "--json", "--again", "for the test", *source, *TRACKING)
    assert {row["synthetic"] for row in json.loads(again.stdout)} == {words}
    registry = ("--registry", "sqlite:///{place}/mlflow.db")
    newest, *others = run(place, "models", "list", *registry).output.splitlines()[1:]
    assert newest.endswith("SYNTHETIC")
    assert not any("SYNTHETIC" in line for line in others)
    assert words in run(place, "models", "show", newest.split()[0], *registry).output
    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    for name in ("training", "evaluation"):
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        newest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])[0]
        assert newest.data.tags["synthetic"] == labels["synthetic"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing to write: say --out, --bundle or --facts"),
        (
            ("--out", "{place}/x", "--users", "10", "--items", "4", "--interactions", "99"),
            "99 interactions of 10 users",
        ),
        (("--out", "{place}/x", "--items", "9000000"), "items"),
        (("--bundle", "{place}/x", "--from", "{place}/data"), "manifest.json: cannot be read"),
    ],
)
def test_what_cannot_be_made_up_is_one_line_and_exit_2(place: Path, arguments: tuple[str, ...], told: str) -> None:
    done = run(place, "data", "synth", *arguments)
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
    assert told in done.output
    assert not (place / "x").exists()
