"""Every use of the test period in an append-only log: written before the first number, and of two at once one counts.

The log is kept as that of promotions (decision 0007): its records are versions of a registered model, whose numbers
MLflow gives out atomically. A use names models and data; it counts if no use before it that counts named one of the
models with this data, or if it says why it comes again. A use that was cut short counts: nobody knows what was seen.
Next module: `training.jobs`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bentos.appending import append
from bentos.promotions import whoami
from bentos.registered import ModelVersion
from bentos.registry import Registry
from training import tracking
from training.errors import ConfigurationError
from training.experiment import Experiment
from training.local_registry import open_registry

LOG: Final = "understudy-test-period"
"""The registered model whose versions are the uses."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One use. `counts` is derived from the log, the rest was written and never changes."""

    number: int
    kind: str
    """The MLflow experiment whose runs have the numbers: one of `tracking.TESTED`."""
    models: list[str]
    """Digests of their settings (`Experiment.model_digest`)."""
    data_hash: str
    by: str
    at_ms: int
    """When the registry took the record, by its clock."""
    again: str
    """Why once more; "" for a first use."""
    nonce: str
    """Tells its writer which record is its own when the answer was lost."""
    counts: bool

    @property
    def tags(self) -> dict[str, str]:
        """What the runs of this use say of it."""
        return {"use": str(self.number)} | ({"again": self.again} if self.again else {})

    @property
    def told(self) -> str:
        """When, by whom and where to look, in words."""
        at = time.strftime("%Y-%m-%d", time.gmtime(self.at_ms / 1000))
        return f"{at} (by {self.by}, use {self.number} in {LOG}, MLflow experiment {self.kind})"


def uses_of(versions: Iterable[ModelVersion]) -> list[Use]:
    """The uses in the versions of `LOG`, given in the order of their numbers."""
    taken: set[tuple[str, str]] = set()
    found = []
    for version in versions:
        models, data_hash, again = version.tag("models").split(), version.tag("data_hash"), version.tag("again")
        pairs = {(model, data_hash) for model in models}
        counts = bool(again) or not pairs & taken
        fields = {key: version.tag(key) for key in ("kind", "by", "nonce")}
        at = version.created_ms
        found.append(
            Use(
                number=version.number,
                models=models,
                data_hash=data_hash,
                again=again,
                at_ms=at,
                counts=counts,
                **fields,
            )
        )
        taken |= pairs if counts else set()
    return found


def ensure_reason(again: str | None) -> None:
    """`ConfigurationError` for an `again` that says nothing."""
    if again is not None and not again.strip():
        raise ConfigurationError(
            "--again needs the reason in words, which is logged: --again 'the data of cold users was wrong'"
        )


def begin(uri: str, kind: str, experiments: Sequence[Experiment], data_hash: str, again: str | None) -> Use:
    """Write down that the models of `experiments` are scored on the test period of this data, before they are.

    `again`: why once more. `ConfigurationError` when it says nothing; and without it, when one of the models was scored
    before or another process is first: then nothing is to be scored. All of them count, or none.
    """
    ensure_reason(again)
    if again is None:
        _ensure_no_run(uri, experiments, data_hash)

    async def begun() -> Use:
        async with open_registry(uri, create=True) as registry:
            return await write(registry, kind, experiments, data_hash, again)

    return asyncio.run(begun())


async def write(
    registry: Registry, kind: str, experiments: Sequence[Experiment], data_hash: str, again: str | None = None
) -> Use:
    """The part of `begin` that is the log's."""
    seen = await registry.versions(LOG)
    if again is None:
        _ensure_first(uses_of(seen), experiments, data_hash)
    models = sorted({each.model_digest for each in experiments})
    names = ", ".join(each.name for each in experiments)
    tags = {"kind": kind, "models": " ".join(models), "names": names, "data_hash": data_hash, "by": whoami()}
    tags |= {"again": again} if again is not None else {}
    uses = uses_of(await _appended(registry, seen, tags | {"nonce": (nonce := uuid.uuid4().hex)}))
    mine = next(each for each in uses if each.nonce == nonce)
    if not mine.counts:
        _ensure_first([each for each in uses if each.number < mine.number], experiments, data_hash)
    return mine


def _ensure_no_run(uri: str, experiments: Sequence[Experiment], data_hash: str) -> None:
    """Runs count without a record, too: those of before there was a log, and of one that was deleted."""
    for experiment in experiments:
        if found := tracking.evaluated(uri, experiment, data_hash):
            raise _refusal(experiment, found)


def _ensure_first(uses: list[Use], experiments: Sequence[Experiment], data_hash: str) -> None:
    for experiment in experiments:
        for use in uses:
            if use.counts and use.data_hash == data_hash and experiment.model_digest in use.models:
                raise _refusal(experiment, use.told)


def _refusal(experiment: Experiment, when: str) -> ConfigurationError:
    return ConfigurationError(
        f"{experiment.name} with these settings was scored on the test period of this data on {when}; one that was cut "
        "short counts. Choose by validation (understudy tune); to score it once more, say why with --again."
    )


async def _appended(registry: Registry, seen: list[ModelVersion], tags: dict[str, str]) -> list[ModelVersion]:
    """Append a record; the log that has it. Of two with one nonce the first is the one that is asked for."""

    async def write() -> None:
        await registry.ensure_model(LOG)
        # MLflow wants a source and looks for none behind a scheme of ours.
        await registry.create_version(LOG, f"understudy-data:/{tags['data_hash']}", tags)

    async def find() -> list[ModelVersion] | None:
        log = seen + await registry.versions(LOG, seen[-1].number if seen else 0)
        return log if any(each.tag("nonce") == tags["nonce"] for each in log) else None

    log, failed = await append(write, find, again_unanswered=True)
    if log is None:
        problem = failed.problem if failed else f"{LOG} does not show the record that it took"
        remedy = "Nothing was scored; see that log before you repeat the command"
        raise registry.error(f"whether the use of the test period was recorded is not known: {problem}", f"{remedy}.")
    return log
