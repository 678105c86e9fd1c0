"""One call to the Kubernetes API: a deadline, a count, an error with a name. Nothing else of the room talks to it.

kopf reads events by connections of its own (`shadow.controller.handlers`). Next module: `shadow.controller.cluster`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient

APPLY: Final = "application/apply-patch+yaml"
"""Server-side apply. JSON is YAML."""
CONNECTIONS: Final = 8
KINDS: Final = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    410: "gone",
    422: "invalid",
    429: "too_many",
}


class ClusterError(Exception):
    """A call that failed. `kind` is one token (`timeout`, `unreachable`, `lost`, `server`, or one of `KINDS`)."""

    def __init__(self, kind: str, text: str, body: Any = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.body = body
        """What the API server said, a `Status`."""


class Api:
    """Calls as one account. `left` gives the seconds for which anything may still be written at all."""

    def __init__(self, connection: client.ApiClient, deadline_seconds: float, left: Callable[[], float]) -> None:
        dynamic: Any = DynamicClient
        self._client = dynamic(connection)
        self._deadline = deadline_seconds
        self._left = left
        self.calls: Counter[tuple[str, str]] = Counter()
        """By verb and result (`ok`, or the kind of error)."""

    async def get(self, path: str, **query: Any) -> Any:
        """An object, or the list of a kind."""
        return await self._call("get", path, self._deadline, **query)

    async def apply(self, path: str, body: Any, manager: str, force: bool) -> Any:
        """Server-side apply; the object as it is then. A conflict's `body` tells fields and managers."""
        query = {"content_type": APPLY, "field_manager": manager, "force_conflicts": str(force).lower()}
        return await self.write("patch", path, body, **query)

    async def write(self, verb: str, path: str, body: Any, **query: Any) -> Any:
        """Any other change: only while it is allowed, and not beyond."""
        seconds = min(self._deadline, self._left())
        if seconds <= 0:
            raise ClusterError("lost", f"{verb} {path}: not sent, the lease is not held")
        return await self._call(verb, path, seconds, body=body, **query)

    async def election(self, verb: str, path: str, body: Any, seconds: float) -> Any:
        """What decides whether anything may be written: the lease itself."""
        return await self._call(verb, path, seconds, body=body)

    async def _call(self, verb: str, path: str, seconds: float, **query: Any) -> Any:
        try:
            answer = await self._answer(verb, path, seconds, **query)
        except ClusterError as error:
            self.calls[verb, error.kind] += 1
            raise
        self.calls[verb, "ok"] += 1
        return answer

    async def _answer(self, verb: str, path: str, seconds: float, **query: Any) -> Any:
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                timeout = aiohttp.ClientTimeout(total=seconds)
                response = await self._client.request(verb, path, serialize=False, _request_timeout=timeout, **query)
                return await response.json()
        except ApiException as error:
            raise named(error, f"{verb} {path}") from error
        except TimeoutError:
            spent = time.monotonic() - started
            raise ClusterError("timeout", f"{verb} {path}: no answer in {spent:.1f} s") from None
        except (OSError, aiohttp.ClientError) as error:
            raise ClusterError("unreachable", f"{verb} {path}: {error or type(error).__name__}") from error


def named(error: ApiException, what: str) -> ClusterError:
    """An answer that is none of 2xx."""
    body: Any = error.body
    with suppress(ValueError, TypeError):
        body = json.loads(error.body or "")
    message = body.get("message") if isinstance(body, dict) else None
    kind = KINDS.get(error.status, "server")
    return ClusterError(kind, f"{what}: {error.status} {message or error.reason}", body)


async def connected(kubeconfig: Path | None) -> client.ApiClient:
    """A client of the cluster: of `kubeconfig`, else of the pod's own account. Close it in the end."""
    settings = client.Configuration()
    if kubeconfig is not None:
        load: Any = config.load_kube_config
        await load(config_file=str(kubeconfig), client_configuration=settings, persist_config=False)
    else:
        in_cluster: Any = config.load_incluster_config
        in_cluster(client_configuration=settings)
    settings.connection_pool_maxsize = CONNECTIONS
    settings.retries = None
    return client.ApiClient(settings)
