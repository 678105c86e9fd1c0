"""`understudy models` on a store of sqlite: what it prints, for people and for machines, and how it ends."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from bentos.errors import PromotionLostError
from bentos.promotions import Promotions
from shadow.cli import main
from tests.mlflow_stores import opened
from tests.training.test_tracking import DATA, EXPERIMENT, trained
from training import mlflow_store, run_facts, tracking

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]


def run(uri: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments, "--registry", uri])


def document(uri: str, *arguments: str) -> Any:
    done = run(uri, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.fixture
def three(store: str, tmp_path: Path) -> str:
    """A store with three versions, the first of which is the champion and was evaluated, once more to no end."""
    for seed in (1, 2, 3):
        ials = msgspec.structs.replace(EXPERIMENT.ials, seed=seed)
        trained(store, tmp_path / str(seed), msgspec.structs.replace(EXPERIMENT, ials=ials))
    with tracking.scoring_run(store, "evaluation", EXPERIMENT, DATA.logged, {}) as scoring:
        scoring.log({"map_at_10": 0.12345, "lift": 0.2}, {})
    with pytest.raises(KeyboardInterrupt), tracking.scoring_run(store, "evaluation", EXPERIMENT, DATA.logged, {}):
        raise KeyboardInterrupt
    assert run(store, "promote", "1", "--by", "ann").exit_code == 0
    return store


def test_versions_are_listed_newest_first_in_aligned_columns(three: str) -> None:
    lines = run(three, "list").output.splitlines()
    assert lines[0].split("  ")[0] == "version"
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1"]
    for name in ("bundle", "bento", "aliases", "created (UTC)", "run"):
        column = lines[0].index(name)
        assert all(line[column - 1] == " " for line in lines[1:])
    assert lines[3][lines[0].index("aliases") :].startswith("champion ")
    assert lines[3].endswith("0.1234") or lines[3].endswith("0.1235")


def test_the_store_may_come_from_the_environment_and_the_flag_goes_before_it(three: str, tmp_path: Path) -> None:
    empty = f"sqlite:///{tmp_path / 'empty.db'}"
    asked = ["models", "list", "--json"]
    for environment in (
        {"UNDERSTUDY_TRACKING": three},
        {"UNDERSTUDY_REGISTRY_URL": three, "UNDERSTUDY_TRACKING": empty},
    ):
        assert CliRunner(env=environment).invoke(main, asked).output == run(three, "list", "--json").output
    flagged = CliRunner(env={"UNDERSTUDY_TRACKING": empty}).invoke(main, [*asked, "--registry", three])
    assert flagged.output == run(three, "list", "--json").output


def test_the_list_for_machines_has_the_same_and_what_the_columns_leave_out(three: str) -> None:
    found = document(three, "list")
    assert found["aliases"] == {"champion": 1}
    assert found["problems"] == []
    first = found["versions"][2]
    assert (first["number"], first["aliases"], first["map_at_10"]) == (1, ["champion"], 0.12345)
    assert first["bento"] == f"champion:{first['bundle_version']}"
    assert len(first["run_id"]) == 32
    assert found["versions"][0]["map_at_10"] is None


def test_show_tells_labels_parameters_data_and_history(three: str) -> None:
    run(three, "promote", "3", "--by", "bob", "--reason", "PASS")
    text = run(three, "show", "1").output
    rows = {tuple(line.split()[:2]) for line in text.splitlines() if len(line.split()) > 1}
    assert {("version", "1"), ("data_hash", "0123456789ab"), ("dimension", "4"), ("map_at_10", "0.1235")} <= rows
    assert {("seed", "1"), ("commit", run_facts.commit())} <= rows
    assert "  made-up  digest 0123456789ab, 400 ratings, 40 users, 30 items\n" in text
    shown = document(three, "show", "champion")
    assert shown["version"]["number"] == 3
    assert [(each["by"], each["from"], each["to"], each["reason"]) for each in shown["history"]] == [
        ("bob", 1, 3, "PASS")
    ]
    assert shown["run"]["params"]["seed"] == "3"
    assert shown["run"]["metrics"]["loss"] > 0


def test_show_of_a_version_whose_run_is_gone_shows_the_rest(three: str) -> None:
    run_id = document(three, "show", "2")["version"]["run_id"]
    mlflow_store.client(three).delete_run(run_id)
    assert run(three, "show", "2").exit_code == 0


def test_promote_and_rollback_by_any_name_of_a_version(three: str) -> None:
    bundle = document(three, "show", "2")["version"]["bundle_version"]
    done = run(three, "promote", bundle, "--by", "bob", "--from", "champion")
    assert (done.exit_code, done.output) == (0, "champion: version 1 → version 2 (record 2, by bob)\n")
    assert run(three, "promote", f"champion:{bundle}").output == "champion is at version 2 already\n"
    moved = document(three, "promote", "3", "--alias", "challenger", "--by", "cid")
    assert moved["moved"] is True
    assert (moved["record"]["alias"], moved["record"]["from"], moved["record"]["to"]) == ("challenger", None, 3)
    assert document(three, "promote", "2") == {"alias": "champion", "version": 2, "moved": False, "record": None}
    done = run(three, "rollback", "--by", "ann")
    assert (done.exit_code, done.output) == (0, "champion: version 2 → version 1 (record 4, by ann)\n")
    assert run(three, "rollback").exit_code == 2


def test_who_promotes_is_recorded_when_nobody_says_so(three: str) -> None:
    assert "@" in document(three, "promote", "2")["record"]["by"]


def test_a_lost_promotion_exits_with_5_and_one_line(three: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(three, "promote", "3", "--from", "2")
    assert done.exit_code == 5
    assert done.output.startswith("champion is at version 1, not at version 2 (ann moved champion")
    assert done.output.count("\n") == 1

    async def overtaken(self: object, *rest: object, **more: object) -> None:
        raise PromotionLostError("lost: bob was first")

    monkeypatch.setattr("training.versions.Promotions.rollback", overtaken)
    assert run(three, "rollback").exit_code == 5


def test_what_is_wrong_is_one_line_and_exit_2(three: str, tmp_path: Path) -> None:
    for arguments in (("show", "9"), ("promote", "nobody"), ("promote", "1", "--alias", "latest"), ("rollback",)):
        done = run(three, *arguments)
        assert done.exit_code == 2, arguments
        assert done.output.startswith("error: ")
        assert done.output.count("\n") == 1
    assert "there is no such file" in run(f"sqlite:///{tmp_path}/none.db", "list").output


def test_an_alias_that_is_not_where_the_log_says_is_listed_with_what_finishes_it(three: str) -> None:
    async def moved() -> None:
        async with opened(three) as registry:
            await registry.set_alias("champion", 3)

    asyncio.run(moved())
    text = run(three, "list").output
    assert "! champion is at version 3, but record 1 moved it to version 1" in text
    assert "understudy models promote 1 --alias champion" in text
    assert run(three, "promote", "1").exit_code == 0
    assert document(three, "list")["problems"] == []


def test_a_log_with_a_hole_is_listed(three: str) -> None:
    run(three, "promote", "2")
    mlflow_store.client(three).delete_model_version("understudy-recommender-promotions", "1")
    assert "record 1 of the promotion log was deleted" in run(three, "list").output
    assert run(three, "promote", "3").exit_code == 2


def test_an_empty_registry_has_no_versions(store: str) -> None:
    assert run(store, "list").output == "no versions\n"
    assert "it has none" in run(store, "show", "1").output


def test_train_tells_that_its_alias_was_lost_but_not_its_version(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overtaken(self: object, *rest: object, **more: object) -> None:
        raise PromotionLostError("lost: bob was first")

    monkeypatch.setattr(Promotions, "promote", overtaken)
    monkeypatch.setattr("training.cli.data_set", lambda source: DATA)
    toml = tmp_path / "small.toml"
    toml.write_text('name = "champion"\nabout = ""\n[ials]\ndimension = 4\nsweeps = 1\n')
    command = ["train", str(toml), "--bundle", str(tmp_path / "b"), "--alias", "champion", "--tracking", store]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 5
    assert "model version 1, run" in done.output
    assert "lost: bob was first" in done.output
    assert [each["number"] for each in document(store, "list")["versions"]] == [1]


def test_train_refuses_an_impossible_alias_before_it_trains(tmp_path: Path) -> None:
    toml = tmp_path / "small.toml"
    toml.write_text('name = "champion"\nabout = ""\n[ials]\ndimension = 4\nsweeps = 1\n')
    tracking_uri = f"sqlite:///{tmp_path}/mlflow.db"
    command = ["train", str(toml), "--bundle", str(tmp_path / "b"), "--alias", "latest", "--tracking", tracking_uri]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert not (tmp_path / "mlflow.db").exists()


def test_a_server_is_asked_without_importing_mlflow() -> None:
    program = (
        "import sys, runpy\nsys.argv = ['understudy', 'models', 'list', '--registry', 'http://127.0.0.1:9']\n"
        "try:\n    runpy.run_module('shadow', run_name='__main__')\nexcept SystemExit as stop:\n    print(stop.code)\n"
        "print(sorted({'mlflow', 'torch', 'faiss', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["2", "[]"]
    assert "registry http://127.0.0.1:9: cannot be asked" in done.stderr
