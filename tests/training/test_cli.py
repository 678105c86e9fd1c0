"""The room's commands from end to end, on made-up ratings in the csv form."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from shadow.cli import main
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
    (directory / "space.toml").write_text("origins = 4\n" + SPACE + "[try]\nregularisation = [0.5, 1.0]\n")
    return directory


def run(place: Path, *arguments: str) -> Result:
    words = [each.format(place=place) for each in arguments]
    environment = {"UNDERSTUDY_DATA_DIR": str(place / "cache"), "UNDERSTUDY_TORCH_THREADS": "1"}
    return CliRunner().invoke(main, words, env=environment)


DATA = ("--data", "{place}/data")
TRACKING = ("--tracking", "sqlite:///{place}/mlflow.db")


def test_data_is_described(place: Path) -> None:
    done = run(place, "data", "describe", *DATA)
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()] == ["part", "train", "validation", "test"]


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


def test_a_search_tells_every_trial_and_writes_the_winner(place: Path) -> None:
    done = run(place, "tune", "{place}/space.toml", "--out", "{place}/tuned.json", *DATA, *TRACKING)
    assert done.exit_code == 0, done.output
    found = json.loads((place / "tuned.json").read_text())
    assert len(found["trials"]) == 2
    assert found["winner"]["name"] == "small"
    assert "2 trials at 4 origins" in done.output


def test_protocols_are_printed_and_are_json_for_machines(place: Path) -> None:
    done = run(place, "protocols", "{place}/small.toml", *DATA)
    assert done.exit_code == 0, done.output
    assert "random, ≥ 4: leaks" in done.output
    rows = json.loads(run(place, "protocols", "{place}/small.toml", "--json", *DATA).output)
    assert len(rows) == 4


def test_a_directory_without_data_is_one_line_and_exit_2(place: Path) -> None:
    done = run(place, "data", "describe", "--data", "{place}/bundles")
    assert done.exit_code == 2
    assert done.output.startswith("error: ")
