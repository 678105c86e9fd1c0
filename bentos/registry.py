"""The model registry: a small client of MLflow's REST API for versions, aliases, tags and runs; it imports no MLflow.

Every call has a deadline, and what goes wrong is a `RegistryError` that names the address and the remedy. Next module:
`bentos.promotions`, which moves aliases.
"""

from __future__ import annotations

import re
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from bentos.errors import RegistryError
from bentos.mlflow_rest import Connection
from bentos.registered import ModelVersion, Nothing, OneExperiment, OneModel, OneRun, OneVersion, Run, Runs, Versions
from bentos.settings import RegistrySettings

if TYPE_CHECKING:
    import httpx

MODEL: Final = "understudy-recommender"
"""The registered model; champion and challenger are aliases of its versions."""
CHAMPION: Final = "champion"
PAGE: Final = 1_000
"""Versions or runs asked for at once."""
PAGES: Final = 1_000
"""More pages than this are no registry but a loop."""
ALIAS: Final = re.compile(r"(?!(?i:latest|v?\d+)$)[A-Za-z0-9_-]{1,255}")
"""What MLflow allows but the names it keeps for itself ("latest", "v3") and those that read as numbers."""


class Registry:
    """The registry at `address`, an `http(s)://` URL with or without a path; use it as an async context manager.

    `transport` may answer the requests instead of the network; then any `address` will do to name it in errors.
    """

    def __init__(
        self, address: str, settings: RegistrySettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._connection = Connection(address, settings, transport)
        self.address = self._connection.address
        self._ask = self._connection.ask
        self.error = self._connection.error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    async def champion(self, alias: str = CHAMPION) -> ModelVersion | None:
        """The version that `alias` points at, by one call; None when there is none."""
        try:
            found = await self._ask(OneVersion, "GET", "registered-models/alias", name=MODEL, alias=checked(alias))
        except RegistryError as error:
            # MLflow calls an alias that is not set an invalid parameter; the name was checked, so it is this.
            if error.missing or error.code == "INVALID_PARAMETER_VALUE":
                return None
            raise
        return found.model_version

    async def aliases(self) -> dict[str, int]:
        """Version number by alias; empty when nothing is registered."""
        try:
            found = await self._ask(OneModel, "GET", "registered-models/get", name=MODEL)
        except RegistryError as error:
            if error.missing:
                return {}
            raise
        return {each.alias: int(each.version) for each in found.registered_model.aliases}

    async def versions(self, model: str = MODEL, beyond: int = 0) -> list[ModelVersion]:
        """All versions of `model` with a number above `beyond` but the deleted ones, in the order of their numbers."""
        only = f"name = '{model}'" + (f" AND version_number > {beyond}" if beyond else "")
        wanted = {"filter": only, "order_by": "version_number ASC", "max_results": PAGE}
        found: list[ModelVersion] = []
        token = ""
        for _ in range(PAGES):
            page = await self._ask(Versions, "GET", "model-versions/search", **wanted, page_token=token)
            found += page.model_versions
            token = page.next_page_token
            if not token:
                return found
        raise self.error(f"{model} has no last page of versions", "Check what answers there.")

    async def version(self, number: int) -> ModelVersion:
        """One version by its number."""
        found = await self._ask(OneVersion, "GET", "model-versions/get", name=MODEL, version=number)
        return found.model_version

    async def find(self, wanted: str) -> ModelVersion:
        """The version that `wanted` names: a number, an alias, a bundle version (12 hex digits) or a bento tag.

        Of several numbers with the same bundle it is the first. `RegistryError` tells what is there instead.
        """
        versions = await self.versions()
        if wanted.isdecimal() and len(wanted) < 12:
            found = [each for each in versions if each.number == int(wanted)]
        else:
            found = [each for each in versions if wanted in (each.tag("bundle_version"), each.tag("bento"))]
        if not found and ALIAS.fullmatch(wanted) and wanted in (aliases := await self.aliases()):
            found = [each for each in versions if each.number == aliases[wanted]]
        bentos = {each.tag("bento") for each in found}
        if len(bentos) > 1:
            raise self.error(f"{wanted} is {', '.join(sorted(bentos))}", "Say which by its bento tag.")
        if not found:
            there = "it has none" if not versions else f"it has 1 to {versions[-1].number} (understudy models list)"
            remedy = "Give a number, an alias, a bundle version of 12 hex digits or a bento tag."
            raise self.error(f"{MODEL} has no version {wanted!r}; {there}", remedy)
        return found[0]

    async def run(self, run_id: str) -> Run:
        """One run by its id."""
        return (await self._ask(OneRun, "GET", "runs/get", run_id=run_id)).run

    async def runs(self, experiment: str) -> list[Run]:
        """The last 1,000 runs of an experiment, newest first; none when there is no such experiment."""
        try:
            found = await self._ask(OneExperiment, "GET", "experiments/get-by-name", experiment_name=experiment)
        except RegistryError as error:
            if error.missing:
                return []
            raise
        body = {"experiment_ids": [found.experiment.experiment_id], "max_results": PAGE}
        return (await self._ask(Runs, "POST", "runs/search", **body)).runs

    async def ensure_model(self, name: str) -> bool:
        """Register the name `name`; False when it was registered already."""
        try:
            await self._ask(Nothing, "POST", "registered-models/create", name=name)
        except RegistryError as error:
            if error.code == "RESOURCE_ALREADY_EXISTS":
                return False
            raise
        return True

    async def delete_model(self, name: str) -> None:
        """Delete the name `name` with all of its versions."""
        await self._ask(Nothing, "DELETE", "registered-models/delete", name=name)

    async def create_version(self, model: str, source: str, tags: dict[str, str], run_id: str = "") -> ModelVersion:
        """A new version of `model`; its number is the next one, and no other writer's."""
        body: dict[str, Any] = {"name": model, "source": source}
        body["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        if run_id:
            body["run_id"] = run_id
        return (await self._ask(OneVersion, "POST", "model-versions/create", **body)).model_version

    async def set_tag(self, number: int, key: str, value: str) -> None:
        """Set one tag of a version of `MODEL`."""
        body = {"name": MODEL, "version": str(number), "key": key, "value": value}
        await self._ask(Nothing, "POST", "model-versions/set-tag", **body)

    async def set_alias(self, alias: str, number: int) -> None:
        """Point `alias` at a version, whatever it points at now. Promotions go through `bentos.promotions`."""
        body = {"name": MODEL, "alias": checked(alias), "version": str(number)}
        await self._ask(Nothing, "POST", "registered-models/alias", **body)


def checked(alias: str) -> str:
    """`alias`; `ValueError` when it can be none."""
    if not ALIAS.fullmatch(alias):
        reserved = '"latest", numbers and v1, v2 … are taken'
        raise ValueError(f"{alias!r} cannot be an alias: letters, digits, _ and - are allowed; {reserved}")
    return alias
