"""The MLflow store as the room reaches it: a client, an experiment by its name, MLflow's errors as the room's.

Next module: `training.run_facts`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from bentos.mlflow_rest import without_credentials
from training.errors import TrackingError
from training.settings import prepare_mlflow
from training.store_creation import artifact_root, opening, path_of


def client(uri: str) -> Any:
    """An MLflow client for the store at `uri` (sqlite:///… or a server's address); an sqlite store is made if need be.

    Errors are MLflow's own; `told` makes them the room's.
    """
    prepare_mlflow()
    from mlflow.tracking import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with opening(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextlib.contextmanager
def told(uri: str) -> Iterator[None]:
    """MLflow's errors, and those of its database, as `TrackingError` that names the store."""
    prepare_mlflow()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = without_credentials(str(error).partition("\n")[0])
        raise TrackingError(f"MLflow at {without_credentials(uri)}: {reason}") from error


def experiment_id(mlflow: Any, uri: str, name: str) -> str:
    """The id of the MLflow experiment `name`, made if need be; the artifacts of an sqlite store lie beside its file."""
    from mlflow.exceptions import MlflowException

    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = f"{artifact_root(uri)}/{name}" if path_of(uri) else None
    try:
        return str(mlflow.create_experiment(name, artifact_location=location))
    except MlflowException as error:
        # MLflow keeps names apart by a unique key: another process was first.
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(mlflow.get_experiment_by_name(name).experiment_id)
