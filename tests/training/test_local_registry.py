"""The registry of a store without a server."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bentos.errors import RegistryError
from bentos.registry import MODEL
from tests.mlflow_stores import add_versions, copied, opened, uri_of
from training.local_registry import open_registry

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]


async def test_two_stores_in_one_process_do_not_mix(migrated: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = (opened(copied(migrated, tmp_path / name)) for name in ("one", "other"))
    await add_versions(one, 1)
    await add_versions(other, 2)
    await add_versions(one, 2)
    assert (len(await one.versions()), len(await other.versions())) == (3, 2)


def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"there is no such file\. Train a model first, or name its store"):
        open_registry(uri_of(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "mongodb://u:secret@host/db", "databricks"])
def test_what_mlflow_keeps_no_registry_in_is_told_with_what_it_does(uri: str) -> None:
    with pytest.raises(
        RegistryError, match=r"cannot be opened \(.+\)\. Give http://HOST:PORT or sqlite:///FILE"
    ) as raised:
        open_registry(uri)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_store_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but a text of some length\n" * 100)
    before = (tmp_path / "mlflow.db").read_bytes()
    with pytest.raises(RegistryError, match="cannot be opened"):
        open_registry(uri_of(tmp_path))
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_store_of_another_mlflow_is_told_with_the_command_that_upgrades_it(migrated: Path, tmp_path: Path) -> None:
    uri = copied(migrated, tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'acf3f17fdcc7'")
    database.close()
    with pytest.raises(RegistryError, match=r"out-of-date database schema.*mlflow db upgrade"):
        open_registry(uri)


async def test_a_locked_file_ends_in_an_error_by_the_deadline(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_REGISTRY_DEADLINE_S", "0.5")
    registry = open_registry(store)
    locker = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(RegistryError, match=r"no answer to registered-models/create within 0\.5 s"):
            await registry.ensure_model(MODEL)
    finally:
        locker.execute("ROLLBACK")
        locker.close()
