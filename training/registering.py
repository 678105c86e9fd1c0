"""From a training's bundle to a version in the registry, and from `train --alias` to a promotion.

Plain artifacts and `create_model_version`: MLflow's LoggedModel machinery adds seconds and another directory for
nothing here. One bundle is one version: the same bytes under the same name get the number that they have (decision
0008). Next module: `training.jobs`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bentos.bundle import BundleManifest, set_label
from bentos.errors import RegistryError
from bentos.promotion_log import Record
from bentos.promotions import Promotions, whoami
from bentos.registered import ModelVersion
from bentos.registry import MODEL, Registry
from training.experiment import Experiment
from training.local_registry import open_registry
from training.tracking import OpenRun


def register(
    uri: str, run: OpenRun, experiment: Experiment, bundle: Path, manifest: BundleManifest
) -> tuple[int, bool]:
    """Make a version of the bundle, with the bundle as the run's artifact; returns (number, whether it is new).

    The labels of the bundle get the run and the number. When it is registered already, the run says as which version,
    the version says which run gave the same bytes last, and nothing is uploaded.
    """
    run.mlflow.update_run(run.id, name=f"{experiment.name} {manifest.version}")
    number, new = asyncio.run(_register(uri, run, experiment, bundle, manifest))
    run.tag({"bundle_version": manifest.version, "bento": manifest.tag, "model_version": str(number)})
    set_label(bundle, "mlflow_run", run.id)
    set_label(bundle, "model_version", str(number))
    return number, new


def point(uri: str, alias: str, number: int) -> Record | None:
    """Point `alias` at a version that was trained just now. `PromotionLostError` when somebody else was first."""

    async def promoted() -> Record | None:
        async with open_registry(uri) as registry:
            return await Promotions(registry).promote(alias, number, whoami(), "understudy train")

    return asyncio.run(promoted())


async def _register(
    uri: str, run: OpenRun, experiment: Experiment, bundle: Path, manifest: BundleManifest
) -> tuple[int, bool]:
    async with open_registry(uri, create=True) as registry:
        known = [each for each in await registry.versions() if each.tag("bento") == manifest.tag]
        if known:
            await registry.set_tag(known[0].number, "reproduced_by", run.id)
            return known[0].number, False
        run.mlflow.log_artifacts(run.id, str(bundle), "bundle")
        tags = {
            "bundle_version": manifest.version,
            "bento": manifest.tag,
            "model": experiment.model_digest,
            "seed": str(experiment.ials.seed),
            **manifest.labels,
        }
        return (await _create(registry, f"{run.artifacts}/bundle", tags, run.id)).number, True


async def _create(registry: Registry, source: str, tags: dict[str, str], run_id: str) -> ModelVersion:
    """A new version; when the registry refuses the very first one, no empty model stays behind."""
    first = await registry.ensure_model(MODEL)
    try:
        return await registry.create_version(MODEL, source, tags, run_id)
    except RegistryError:
        if first and not await registry.versions():
            await registry.delete_model(MODEL)
        raise
