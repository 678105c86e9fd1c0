"""One of several processes that open MLflow stores at once: `python -m tests.training.opener`.

Each line of stdin is a store's URI to open, for runs and as a registry, the registry first when the line begins with
"registry ". Lines of stdout: "ready", then per store its experiment's id, or what went wrong.
"""

from __future__ import annotations

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")


async def versions(uri: str) -> None:
    from training.local_registry import open_registry

    async with open_registry(uri, create=True) as registry:
        await registry.versions()


def opened(uri: str, registry_first: bool) -> str:
    from bentos.errors import BentosError
    from training.errors import TrainingError
    from training.mlflow_store import client, experiment_id, told

    try:
        if registry_first:
            asyncio.run(versions(uri))
        with told(uri):
            found = experiment_id(client(uri), uri, "training")
        asyncio.run(versions(uri))
    except (BentosError, TrainingError) as error:
        return str(error).partition("\n")[0]
    return found


if __name__ == "__main__":
    import mlflow.server
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        kind, _, uri = line.strip().rpartition(" ")
        print(opened(uri, kind == "registry"), flush=True)
