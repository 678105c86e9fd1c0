"""What `understudy models` asks for, put together from the registry, the promotion log and the runs.

Next module: `training.models_cli`, which prints it.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from bentos.errors import RegistryError
from bentos.promotion_log import PromotionLog, Record
from bentos.promotions import Promotions, whoami
from bentos.registered import Dataset, ModelVersion, Run
from bentos.registry import Registry, checked
from training.local_registry import open_registry
from training.processes import is_gone

LABELS = (
    "synthetic", "fitted_on", "fitted_before_us", "data_hash", "commit", "configuration", "model", "seed",
    "reproduced_by",
)  # fmt: skip

LONGEST_MS: Final = 86_400_000
"""A day: a run that has not ended by then is asked after."""
OPEN: Final = {"training": "train", "evaluation": "evaluate", "protocols": "protocols"}
"""The command by the MLflow experiment of its runs, those that are open from the beginning."""


class Version(msgspec.Struct, frozen=True):
    """One row of the list. `map_at_10` is that of the settings on the test period, None when they were not scored."""

    number: int
    bundle_version: str
    bento: str
    aliases: list[str]
    created_ms: int
    run_id: str
    map_at_10: float | None
    synthetic: str = ""
    """What made-up data says of itself; "" for real data."""


class Listed(msgspec.Struct, frozen=True):
    """The versions, newest first; the aliases; what is unfinished or wrong, in words."""

    registry: str
    versions: list[Version]
    aliases: dict[str, int]
    problems: list[str]


class Training(msgspec.Struct, frozen=True):
    """What the run of a version logged."""

    name: str
    status: str
    params: dict[str, str]
    libraries: dict[str, str]
    metrics: dict[str, float]
    """Last values."""
    data: list[Dataset]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All about one version."""

    version: Version
    source: str
    labels: dict[str, str]
    run: Training | None = None
    """None when it was deleted."""
    evaluation_run: str = ""
    test: dict[str, float] = {}
    """What `understudy evaluate` logged for these settings on this data, last."""
    data: dict[str, str] = {}
    history: list[Record] = []
    """The promotions from or to this version, also those that lost."""
    problems: list[str] = []


async def listed(uri: str) -> Listed:
    """All versions of the registry at `uri`."""
    async with open_registry(uri) as registry:
        aliases = await registry.aliases()
        log = await Promotions(registry).read()
        runs = await registry.runs("evaluation")
        versions = [_version(each, aliases, runs) for each in reversed(await registry.versions())]
        problems = _problems(log, aliases)
        for kind, command in OPEN.items():
            known = runs if kind == "evaluation" else await registry.runs(kind)
            problems += _unfinished(known, command, time.time_ns() // 1_000_000)
        return Listed(registry.address, versions, aliases, problems)


async def shown(uri: str, wanted: str) -> Shown:
    """Everything about the version that `wanted` names."""
    async with open_registry(uri) as registry:
        version = await registry.find(wanted)
        aliases = await registry.aliases()
        log = await Promotions(registry).read()
        evaluation = _evaluation(version, await registry.runs("evaluation"))
        run = await _run(registry, version.run_id)
    number = version.number
    return Shown(
        version=_version(version, aliases, [evaluation] if evaluation else []),
        source=version.source,
        labels={key: version.tag(key) for key in LABELS if version.tag(key)},
        evaluation_run=evaluation.info.run_id if evaluation else "",
        test={each.key: each.value for each in evaluation.data.metrics} if evaluation else {},
        history=[each for each in log.records if number in (each.origin, each.to)],
        problems=_problems(log, aliases),
        run=_training(run) if run else None,
    )


async def promoted(
    uri: str, wanted: str, alias: str, expected: str | None, by: str | None, reason: str
) -> tuple[int, Record | None]:
    """Move `alias` to the version that `wanted` names; returns its number, and the record, None when it was there."""
    checked(alias)
    async with open_registry(uri) as registry:
        number = (await registry.find(wanted)).number
        before = (await registry.find(expected)).number if expected else None
        return number, await Promotions(registry).promote(alias, number, by or whoami(), reason, before)


async def rolled_back(uri: str, alias: str, expected: str | None, by: str | None, reason: str) -> Record:
    """Move `alias` back to the version before."""
    checked(alias)
    async with open_registry(uri) as registry:
        before = (await registry.find(expected)).number if expected else None
        return await Promotions(registry).rollback(alias, by or whoami(), reason, before)


def _version(version: ModelVersion, aliases: dict[str, int], evaluations: list[Run]) -> Version:
    evaluation = _evaluation(version, evaluations)
    return Version(
        number=version.number,
        bundle_version=version.tag("bundle_version"),
        bento=version.tag("bento"),
        aliases=sorted(alias for alias, number in aliases.items() if number == version.number),
        created_ms=version.created_ms,
        run_id=version.run_id,
        map_at_10=evaluation.metric("map_at_10") if evaluation else None,
        synthetic=version.tag("synthetic"),
    )


def _evaluation(version: ModelVersion, runs: list[Run]) -> Run | None:
    """The newest evaluation of the version's settings on its data that came to its numbers."""
    wanted = [version.tag(key) for key in ("model", "data_hash")]
    scored = [each for each in runs if each.metric("map_at_10") is not None]
    return next((each for each in scored if all(wanted) and [each.tag("model"), each.tag("data_hash")] == wanted), None)


async def _run(registry: Registry, run_id: str) -> Run | None:
    """The run of a version; None when it was deleted."""
    try:
        return await registry.run(run_id)
    except RegistryError as error:
        if not error.missing:
            raise
        return None


def _training(run: Run) -> Training:
    prefix = "version."
    tags = {each.key: each.value for each in run.data.tags}
    return Training(
        name=run.info.run_name,
        status=run.info.status,
        params={each.key: each.value for each in run.data.params},
        libraries={key.removeprefix(prefix): tags[key] for key in sorted(tags) if key.startswith(prefix)},
        metrics={each.key: each.value for each in run.data.metrics},
        data=[each.dataset for each in run.inputs.dataset_inputs],
    )


def _unfinished(runs: list[Run], command: str, now_ms: int) -> list[str]:
    """Runs that say RUNNING and are not: certainly, or because none takes so long; `command` is what makes them."""
    found = []
    for run in runs:
        told = f"run {run.info.run_id[:8]} ({run.info.run_name}) says RUNNING"
        if run.info.status != "RUNNING":
            continue
        if is_gone({each.key: each.value for each in run.data.tags}):
            found.append(f"{told}, but its process is gone: the next understudy {command} marks it as KILLED")
        elif now_ms - run.info.start_time > LONGEST_MS:
            found.append(
                f"{told} for more than a day, and it is not known here whether its process is there. If it is not: "
                f"MlflowClient().set_terminated({run.info.run_id!r}, 'KILLED')"
            )
    return found


def _problems(log: PromotionLog, aliases: dict[str, int]) -> list[str]:
    """What a person should know: aliases that are not where the log says, a log with a hole."""
    if log.hole:
        return [
            f"record {log.hole} of the promotion log was deleted: nothing can be promoted before a new log is begun"
        ]
    found = []
    for alias in log.aliases:
        last, at = log.last(alias), aliases.get(alias)
        if last is not None and at != last.to:
            now = "not set" if at is None else f"at version {at}"
            found.append(
                f"{alias} is {now}, but record {last.number} moved it to version {last.to}: that was cut short, "
                f"or other means moved it since. To finish: understudy models promote {last.to} --alias {alias}"
            )
    return found
