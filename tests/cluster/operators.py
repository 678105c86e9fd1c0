"""The operator's account on the tests' API server: its Role and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kubernetes.aio.dynamic import DynamicClient

from shadow.controller.api import Api, connected
from shadow.controller.cluster import Cluster
from shadow.controller.kinds import rules
from tests.cluster.api_server import ApiServer

ACCOUNT = "understudy-operator"


def operator_account(server: ApiServer, namespace: str) -> Path:
    """A kubeconfig of a new account that has the operator's Role in `namespace`."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": ACCOUNT}}
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(role | {"rules": rules()}))
    token = server.account(namespace, ACCOUNT)
    bound = ("--role", ACCOUNT, "--serviceaccount", f"{namespace}:{ACCOUNT}")
    server.kubectl("create", "rolebinding", ACCOUNT, "-n", namespace, *bound)
    return server.kubeconfig(token, namespace)


@asynccontextmanager
async def cluster_of(server: ApiServer, namespace: str) -> AsyncIterator[tuple[Cluster, Api]]:
    """The namespace as the operator sees it."""
    async with await connected(operator_account(server, namespace)) as client:
        api = Api(DynamicClient(client), 30.0, lambda: math.inf)
        yield Cluster(api, namespace), api
