"""The operator as a process: kopf tells what changed and does nothing else; all that is written goes through `Api`.

Of kopf only `on.event` handlers are used: they write no annotation, no finalizer and no status of kopf's. Its peering
is off (two of equal priority would freeze both; the Lease decides), its Events too, and so is its look at CRDs and
namespaces, which the Role does not allow. Next module: `shadow.controller.cli`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, cast

import kopf
from kubernetes.aio import client

from shadow.controller.api import Api, ClusterError, connected
from shadow.controller.kinds import CHILDREN, RESOURCE, Kind
from shadow.controller.lease import Lease, collected_with, labels_of
from shadow.controller.operator import Operator
from shadow.controller.operator_metrics import OperatorCollector, observed
from shadow.controller.settings import OperatorSettings

logger = logging.getLogger(__name__)

PAUSES: Final = (0.5, 10.0)
"""Before the API server is asked again at the start, doubling from the one to the other."""
FINISH_SECONDS: Final = 5.0
"""For what is under way at the end."""


async def serve(settings: OperatorSettings) -> None:
    """Run an operator until SIGTERM. `OSError` when a port is taken."""
    ended = asyncio.Event()
    _on_signals(ended.set)
    identity = f"{settings.identity}_{secrets.token_hex(4)}"
    lease = Lease(settings.namespace, identity, metadata=labels_of(settings.release))
    async with await connected(settings.kubeconfig) as connection:
        api = Api(connection, settings.deadline_seconds, lease.left)
        operator = Operator(api, lease, settings.namespace, settings.platform, settings.control_token, identity)
        collector = OperatorCollector(operator.counters, operator.gauges)
        observing = await observed(*settings.observe, collector, lambda: operator.unready)
        try:
            await operator.server.start(*settings.control)
            await _until(ended, _work(operator, lease, api, settings, connection, ended))
        finally:
            await operator.server.stop()
            await lease.release(api)
            await observing.cleanup()


async def _work(
    operator: Operator,
    lease: Lease,
    api: Api,
    settings: OperatorSettings,
    connection: client.ApiClient,
    ended: asyncio.Event,
) -> None:
    """List, then watch, hold the lease, and reconcile. kopf comes last: it ends all tasks that are younger than it."""
    await _until_it_answers(operator.list_all)
    if settings.deployment:
        await _until_it_answers(lambda: _own(lease, api, settings))
    async with asyncio.TaskGroup() as group:
        group.create_task(operator.run())
        group.create_task(lease.run(api))
        await asyncio.sleep(0)
        started = asyncio.Event()
        group.create_task(_overrule(started, ended))
        await kopf.operator(
            registry=watches(operator, settings, connection),
            settings=quiet(),
            namespaces=[settings.namespace],
            # Else kopf asks for the name of the user, and the number that a cluster gives may have none.
            identity=cast(Any, settings.identity),
            standalone=True,
            stop_flag=ended,
            ready_flag=started,
        )
        if not ended.is_set():
            raise RuntimeError("the watches ended")


async def _own(lease: Lease, api: Api, settings: OperatorSettings) -> None:
    lease.goes_with(await collected_with(api, settings.namespace, settings.deployment))


async def _until_it_answers(ask: Callable[[], Awaitable[None]]) -> None:
    pause = PAUSES[0]
    while True:
        try:
            await ask()
        except ClusterError as error:
            logger.error("not ready: %s", error)
            await asyncio.sleep(pause)
            pause = min(PAUSES[1], 2 * pause)
        else:
            return


async def _overrule(started: asyncio.Event, ended: asyncio.Event) -> None:
    """kopf takes the signals when it starts: take them back, for the lease is to be given up in order."""
    await started.wait()
    _on_signals(ended.set)


async def _until(ended: asyncio.Event, work: Any) -> None:
    """Work until the end is called; what is under way may finish. What fails raises."""
    task, end = asyncio.create_task(work), asyncio.create_task(ended.wait())
    await asyncio.wait([task, end], return_when=asyncio.FIRST_COMPLETED)
    end.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=FINISH_SECONDS)
    elif (error := task.exception()) is not None:
        raise error


def _on_signals(end: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)


def watches(operator: Operator, settings: OperatorSettings, connection: client.ApiClient) -> kopf.OperatorRegistry:
    """A registry that hands every event to the operator."""
    registry = kopf.OperatorRegistry()
    for kind in (RESOURCE, *CHILDREN):
        _watch(registry, kind, operator)

    @kopf.on.login(registry=registry, id="login")
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        if settings.kubeconfig is None:
            return kopf.login_with_service_account(**kwargs)
        return as_kopf(connection.configuration)

    return registry


def _watch(registry: kopf.OperatorRegistry, kind: Kind, operator: Operator) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)
    async def saw(event: Any, **_: Any) -> None:  # a plain function would run in another thread
        with suppress(KeyError):  # no metadata: nothing that could be named
            operator.saw(kind.name, event["type"] or "", kind.head | dict(event["object"]))


def as_kopf(configuration: client.Configuration) -> kopf.ConnectionInfo:
    """The account of the client library, for kopf."""
    token = (configuration.api_key or {}).get("BearerToken", "").removeprefix("Bearer ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert or None,
        insecure=not configuration.verify_ssl,
        token=token or None,
        certificate_path=configuration.cert_file or None,
        private_key_path=configuration.key_file or None,
    )


def quiet() -> kopf.OperatorSettings:
    """kopf writes nothing and looks at nothing but what is watched."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.execution.max_workers = 1
    settings.networking.request_timeout = 30.0
    return settings
