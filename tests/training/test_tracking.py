"""Runs and versions in a real MLflow store on sqlite."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bentos.bundle import read_manifest
from bentos.errors import PromotionLostError, RegistryError
from bentos.registry import MODEL
from tests.ports import free_port
from training import mlflow_store, registering, run_facts, tracking
from training.content import ContentSettings
from training.data_set import DataSet
from training.errors import TrackingError, TrainingError
from training.experiment import Experiment
from training.ials import IalsSettings
from training.jobs import Trained, train_job
from training.settings import Machine
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    # MLflow's own imports and pools warn; what is tested here is what it stores.
    pytest.mark.filterwarnings("ignore"),
]
INTERACTIONS = synthetic_interactions(5, users=40, items=30, per_user=10)
DATA = DataSet(INTERACTIONS, split_by_time(INTERACTIONS), synthetic_movies(INTERACTIONS), "0123456789ab", "made-up")
EXPERIMENT = Experiment(name="champion", about="a test", ials=IalsSettings(dimension=4, sweeps=3))
HYBRID = msgspec.structs.replace(EXPERIMENT, content=ContentSettings(least_items=2))


def trained(
    uri: str,
    bundle: Path,
    experiment: Experiment = EXPERIMENT,
    sweep: Callable[[int, float], None] = lambda number, loss: None,
) -> Trained:
    return train_job(DATA, experiment, "train", bundle, uri, Machine(), sweep)


def only_run(uri: str) -> Any:
    client = mlflow_store.client(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("training").experiment_id])
    return run


def test_a_training_logs_settings_data_versions_and_a_loss_per_sweep(store: str, tmp_path: Path) -> None:
    found = trained(store, tmp_path / "bundle", HYBRID)
    run = mlflow_store.client(store).get_run(found.run_id)
    manifest = read_manifest(tmp_path / "bundle")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"champion {manifest.version}"
    params = run.data.params
    assert {
        "dimension": "4",
        "seed": "1",
        "min_history": "1",
        "threads": "1",
        "device": "cpu",
    }.items() <= params.items()
    content = {"content.weight": "0.95", "content.regularisation": "100.0", "content.least_items": "2"}
    assert content.items() <= params.items()
    assert params["regularisation"] == "1.0"
    tags = run.data.tags
    expected = {"data_hash": "0123456789ab", "configuration": HYBRID.digest, "model": HYBRID.model_digest}
    expected |= {"bundle_version": manifest.version, "model_version": "1", "commit": run_facts.commit()}
    assert expected.items() <= tags.items()
    assert {f"version.{library}" for library in (*run_facts.LIBRARIES, "python")} <= set(tags)
    history = mlflow_store.client(store).get_metric_history(found.run_id, "loss")
    assert [metric.step for metric in history] == [1, 2, 3]
    assert sorted((metric.value for metric in history), reverse=True) == [metric.value for metric in history]


def test_a_training_logs_its_data_set_as_an_input(store: str, tmp_path: Path) -> None:
    run = mlflow_store.client(store).get_run(trained(store, tmp_path / "bundle").run_id)
    (logged,) = run.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("made-up", "0123456789ab")
    assert {tag.key: tag.value for tag in logged.tags} == {"mlflow.data.context": "training"}
    profile = json.loads(logged.dataset.profile)
    assert (profile["ratings"], profile["users"], profile["items"]) == (len(INTERACTIONS), 40, 30)
    assert profile["from_us"] < profile["to_us"]
    assert [column["name"] for column in json.loads(logged.dataset.schema)["mlflow_colspec"]] == list(run_facts.COLUMNS)


def test_a_version_holds_the_bundle_and_the_bundle_its_number(store: str, tmp_path: Path) -> None:
    found = trained(store, tmp_path / "bundle")
    assert (found.number, found.new) == (1, True)
    version = mlflow_store.client(store).get_model_version(MODEL, "1")
    manifest = read_manifest(tmp_path / "bundle")
    assert (version.run_id, version.tags["bento"], version.tags["seed"]) == (found.run_id, manifest.tag, "1")
    assert (version.tags["data_hash"], version.tags["fitted_on"]) == ("0123456789ab", "train")
    stored = tmp_path / "mlartifacts" / "training" / found.run_id / "artifacts" / "bundle"
    assert version.source == stored.as_uri()
    assert read_manifest(stored).files == manifest.files
    assert (manifest.labels["model_version"], manifest.labels["mlflow_run"]) == ("1", found.run_id)


def test_how_the_index_was_chosen_is_in_the_run(store: str, tmp_path: Path) -> None:
    found = trained(store, tmp_path / "bundle")
    files = {each.path for each in mlflow_store.client(store).list_artifacts(found.run_id, "index")}
    assert files == {"index/measured.json", "index/metrics.json", "index/table.txt"}
    run = tracking.OpenRun(found.run_id, "", 0, mlflow_store.client(store))
    (tmp_path / "bundle-index" / "metrics.json").write_text('{"index_recall_at_10": 0.996, "index_p95_ms": 0.2}')
    run.log_index(tmp_path / "bundle-index")
    metrics = mlflow_store.client(store).get_run(found.run_id).data.metrics
    assert (metrics["index_recall_at_10"], metrics["index_p95_ms"]) == (0.996, 0.2)


def test_the_same_seed_and_data_give_the_same_bundle_and_the_same_version(store: str, tmp_path: Path) -> None:
    first, second = (trained(store, tmp_path / name) for name in ("one", "two"))
    assert first.tag == second.tag
    assert ((first.number, first.new), (second.number, second.new)) == ((1, True), (1, False))
    one, two = (read_manifest(tmp_path / name) for name in ("one", "two"))
    assert one.files == two.files
    assert two.labels["model_version"] == "1"
    client = mlflow_store.client(store)
    assert client.get_model_version(MODEL, "1").run_id == first.run_id
    assert client.get_model_version(MODEL, "1").tags["reproduced_by"] == second.run_id
    assert client.get_run(second.run_id).data.tags["model_version"] == "1"
    assert [each.path for each in client.list_artifacts(second.run_id)] == ["index"]


def test_another_seed_is_another_bundle_and_version_and_another_name_too(store: str, tmp_path: Path) -> None:
    seed = msgspec.structs.replace(EXPERIMENT, ials=msgspec.structs.replace(EXPERIMENT.ials, seed=2))
    name = msgspec.structs.replace(EXPERIMENT, name="other")
    found = [trained(store, tmp_path / str(n), each) for n, each in enumerate([EXPERIMENT, seed, name])]
    assert [each.number for each in found] == [1, 2, 3]
    digests = [each.tag.partition(":")[2] for each in found]
    assert digests[0] == digests[2] != digests[1]


def test_a_fit_that_breaks_is_a_failed_run_and_registers_nothing(store: str, tmp_path: Path) -> None:
    weights = {f"{half / 2:g}": 1e38 for half in range(1, 11)}
    broken = msgspec.structs.replace(EXPERIMENT, ials=IalsSettings(dimension=4, sweeps=3, weights=weights))
    with pytest.raises(TrainingError, match="sweep"):
        trained(store, tmp_path / "bundle", broken)
    run = only_run(store)
    assert run.info.status == "FAILED"
    assert "TrainingError: sweep" in run.data.tags["error"]
    assert run.data.params["dimension"] == "4"
    assert mlflow_store.client(store).search_registered_models() == []


def test_an_interrupted_training_is_a_killed_run_with_its_sweeps_and_the_next_has_all(
    store: str, tmp_path: Path
) -> None:
    def interrupt(number: int, loss: float) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(store, tmp_path / "bundle", sweep=interrupt)
    run, client = only_run(store), mlflow_store.client(store)
    assert run.info.status == "KILLED"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
    assert client.search_registered_models() == []
    resumed = trained(store, tmp_path / "bundle")
    assert [metric.step for metric in client.get_metric_history(resumed.run_id, "loss")] == [1, 2, 3]


def test_a_registry_that_refuses_the_first_version_keeps_no_empty_model(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX", "^s3://")
    with pytest.raises(RegistryError, match="Invalid model version source"):
        trained(store, tmp_path / "bundle")
    assert only_run(store).info.status == "FAILED"
    assert mlflow_store.client(store).search_registered_models() == []
    assert read_manifest(tmp_path / "bundle").name == "champion"


def test_a_server_that_is_not_there_is_told_before_the_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:\d+: "):
        trained(f"http://me:secret@127.0.0.1:{free_port()}", tmp_path / "bundle")
    assert time.monotonic() - started < 60
    assert not (tmp_path / "bundle").exists()


def test_an_alias_of_a_training_is_a_promotion_and_can_be_lost(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(store, tmp_path / "one")
    record = registering.point(store, "champion", first.number)
    assert record is not None
    assert (record.origin, record.to, record.reason) == (None, 1, "understudy train")
    assert registering.point(store, "champion", first.number) is None

    async def overtaken(self: object, alias: str, *rest: object) -> None:
        raise PromotionLostError("lost: bob moved champion")

    monkeypatch.setattr("training.registering.Promotions.promote", overtaken)
    with pytest.raises(PromotionLostError, match="bob"):
        registering.point(store, "champion", first.number)
