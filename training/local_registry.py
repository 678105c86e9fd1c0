"""The registry of a store without a server (sqlite on a laptop): MLflow's own REST handlers, called in this process.

So there is one client and one set of rules, with a server and without (decision 0009). Next module:
`training.models_cli`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from typing import Any, Final

import httpx

from bentos.errors import RegistryError
from bentos.mlflow_rest import without_credentials
from bentos.registry import Registry
from bentos.settings import RegistrySettings
from training.settings import prepare_mlflow
from training.store_creation import artifact_root, opening, path_of

_HANDLERS: Final = threading.Lock()
"""MLflow's handlers take their stores from module globals: one store at a time."""


class Handlers(httpx.AsyncBaseTransport):
    """MLflow's REST API over the database at `uri`, without a socket. The schema is made when it is not there."""

    def __init__(self, uri: str) -> None:
        from mlflow.server import app
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Models
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Runs

        with opening(uri):
            self._tracking: Any = Runs(uri, artifact_root(uri))  # type: ignore[no-untyped-call]
            self._models: Any = Models(uri)  # type: ignore[no-untyped-call]
        self._transport = httpx.WSGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, in a thread: the database is a file, and another process may hold it."""
        return await asyncio.to_thread(self._handle, request)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        from mlflow.server import handlers

        with _HANDLERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what MLflow itself does and imports is nobody's business here
            handlers._tracking_store, handlers._model_registry_store = self._tracking, self._models
            answer = self._transport.handle_request(request)
            content = answer.read()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def open_registry(uri: str, create: bool = False) -> Registry:
    """The registry at `uri`: a server's address, or a database that MLflow knows (sqlite:///FILE).

    `RegistryError` when it cannot be used; also for a file that is not there, unless `create`.
    """
    settings = RegistrySettings.load()
    if uri.startswith(("http://", "https://")):
        return Registry(uri, settings)
    path = path_of(uri)
    if path and not create and not path.exists():
        raise RegistryError(uri, "there is no such file", "Train a model first, or name its store with --registry.")
    return Registry(uri, settings, _handlers(uri))


def _handlers(uri: str) -> Handlers:
    prepare_mlflow()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return Handlers(uri)
    except (MlflowException, SQLAlchemyError) as error:
        reason = without_credentials(str(error).partition("\n")[0])
        remedy = "Give http://HOST:PORT or sqlite:///FILE."
        raise RegistryError(without_credentials(uri), f"cannot be opened ({reason})", remedy) from error
