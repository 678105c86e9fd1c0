"""One call of MLflow's REST API (2.0): sent under a deadline, decoded into a type, or a `RegistryError` with a remedy.

httpx is imported when a connection is opened, not before: a serving process that never asks pays nothing. Next module:
`bentos.registry`, which says what is asked.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from bentos.errors import RegistryError
from bentos.registered import Refusal
from bentos.settings import RegistrySettings

if TYPE_CHECKING:
    import httpx

API: Final = "/api/2.0/mlflow/"
CREDENTIALS: Final = "Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."

Answer = TypeVar("Answer")


class Connection:
    """To the MLflow at `address`, an `http(s)://` URL with or without a path.

    `transport` may answer the requests instead of the network; then any `address` will do to name it in errors.
    """

    def __init__(
        self, address: str, settings: RegistrySettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.address = without_credentials(address)
        self._deadline = settings.deadline_s
        on_network = transport is None or address.startswith(("http://", "https://"))
        self._client = self._open(address.rstrip("/") if on_network else "http://localhost", settings, transport)

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def ask(self, kind: type[Answer], method: str, path: str, **fields: Any) -> Answer:
        """Send one request and decode its answer as `kind`: fields go into the query of a GET, else into the body."""
        content = await self._send(method, path, fields)
        try:
            return msgspec.json.decode(content, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.error(f"the answer to {path} is none of MLflow's ({error})", "Check the address.") from error

    def error(self, problem: str, remedy: str) -> RegistryError:
        """An error that names this registry."""
        return RegistryError(self.address, problem, remedy)

    def _open(
        self, base: str, settings: RegistrySettings, transport: httpx.AsyncBaseTransport | None
    ) -> httpx.AsyncClient:
        import httpx

        try:
            url = httpx.URL(base)
        except httpx.InvalidURL as error:
            raise self.error(f"no address ({error})", "Give http://HOST:PORT.") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise self.error("no address of a server", "Give http://HOST:PORT.")
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        basic = (settings.username, settings.password) if settings.username and not settings.token else None
        return httpx.AsyncClient(
            base_url=base, headers=headers, auth=basic, timeout=settings.deadline_s, transport=transport
        )

    async def _send(self, method: str, path: str, fields: dict[str, Any]) -> bytes:
        import httpx

        given: dict[str, Any] = {"params": fields} if method == "GET" else {"json": fields}
        try:
            # httpx's own deadline is for each read; this one is for the whole call.
            async with asyncio.timeout(self._deadline):
                response = await self._client.request(method, API + path, **given)
        except (TimeoutError, httpx.TimeoutException) as error:
            remedy = "Is it up? UNDERSTUDY_REGISTRY_DEADLINE_S gives it longer."
            raise self.error(f"no answer to {path} within {self._deadline:g} s", remedy) from error
        except httpx.HTTPError as error:
            problem = f"cannot be asked ({error or type(error).__name__})"
            raise self.error(problem, "Start it, or give the address of one that runs.") from error
        if not response.is_success:
            raise _refused(self.address, response, path)
        return response.content


def _refused(address: str, response: httpx.Response, path: str) -> RegistryError:
    """What the server's refusal means, and what to do about it."""
    status = response.status_code
    try:
        refusal = msgspec.json.decode(response.content, type=Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = Refusal()
    # Of an error of its database MLflow tells the statement, in more lines.
    said, _, _ = refusal.message.partition("\n")
    problem = f"{path}: {status} {said or response.reason_phrase}"
    if "Invalid Host header" in response.text:
        host = response.request.headers["host"]
        problem, remedy = f"it does not answer to the name {host}", f"Start it with --allowed-hosts {host}"
    elif status in (401, 403):
        remedy = CREDENTIALS
    elif response.is_redirect:
        problem, remedy = f"it sends to {response.headers.get('location')}", "Give that address."
    elif refusal.error_code and status < 500:
        remedy = ""
    elif status == 404:
        remedy = "There is no MLflow at this address; check its path."
    else:
        remedy = "See the log of the MLflow server, or of the proxy before it, and try again."
    return RegistryError(address, problem, remedy, status=status, code=refusal.error_code)


def without_credentials(address: str) -> str:
    """`address` without user and password."""
    return re.sub(r"//[^/]*@", "//", address)
