"""What k8s/dev needs that no file may hold: passwords, made up once per namespace and kept in Secrets.

Next module: `k8s.local.charts`.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from bentos.redis_acl import USERS
from k8s.local.cluster import ROOT, Cluster
from shadow.processes import StepError

DEVELOPMENT: Final = ROOT / "k8s" / "dev"
PARTS: Final = ("redis", "store", "prometheus", "mlflow")
REGION: Final = "us-east-1"


def ensure_secrets(cluster: Cluster, namespace: str) -> None:
    """The Secrets of Redis, the store and the routers; those that are there stay as they are."""
    accounts = found(cluster, namespace, "understudy-store-accounts") or _accounts()
    made = {name: held for name, held in _secrets(accounts).items() if not found(cluster, namespace, name)}
    if made:
        cluster.apply([_secret(name, held) for name, held in made.items()], namespace)


def found(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    """What the Secret `name` holds; nothing when there is none."""
    asked = ("get", "secret", name, "--namespace", namespace, "--ignore-not-found", "--output", "json")
    text = cluster.kubectl(*asked, told=False)
    held: dict[str, str] = json.loads(text)["data"] if text.strip() else {}
    return {key: base64.b64decode(value).decode() for key, value in held.items()}


def apply_parts(cluster: Cluster, namespace: str, *parts: str, mlflow_image: str = "") -> None:
    """Apply files of k8s/dev and wait for what they start; `mlflow_image` in the place of the file's."""
    for part in parts:
        text = (DEVELOPMENT / f"{part}.yaml").read_text()
        if part == "mlflow":
            text = text.replace("image: understudy-mlflow:0.1.0", f"image: {mlflow_image}")
        cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=text)
    cluster.rolled_out(namespace, *parts)


def reader(cluster: Cluster, namespace: str) -> Mapping[str, str]:
    """Credentials that may read the bucket."""
    accounts = found(cluster, namespace, "understudy-store-accounts")
    if not accounts:
        raise StepError("the Secret understudy-store-accounts is not there: make kind-up")
    return {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": accounts["reader"], "AWS_REGION": REGION}


def _accounts() -> dict[str, str]:
    return {name: secrets.token_urlsafe(24) for name in ("root", "owner", "writer", "reader")}


def _secrets(accounts: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    passwords = {user.name: secrets.token_urlsafe(24) for user in USERS}
    users = "".join(f"{user.line(passwords[user.name])}\n" for user in USERS)
    return {
        # Nobody comes in without a name: the default user is off.
        "understudy-redis": {
            "users.acl": f"user default off\n{users}",
            **{
                f"{kind}-url": f"redis://understudy-{kind}:{passwords[f'understudy-{kind}']}@redis:6379/0"
                for kind in ("reader", "writer")
            },
        },
        "understudy-store-accounts": accounts,
        "understudy-store": {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": accounts["writer"]},
        "understudy-router": {name: secrets.token_hex(32) for name in ("unit-key", "admin-token", "control-token")},
    }


def _secret(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/part-of": "understudy-dev"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "stringData": values}
