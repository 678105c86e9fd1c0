"""A real API server without nodes: `etcd` and `kube-apiserver` as processes, RBAC on, every request in the audit log.

What needs no pods is tested here: schemas, server-side apply, conflicts, subresources, permissions, watches. No
controller runs: Deployments make no pods, owner references collect no garbage, a namespace that is deleted stays.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from shadow.processes import Stage
from tests.ports import free_port

NEEDED: Final = ("etcd", "kube-apiserver", "kubectl", "openssl")
READY_SECONDS: Final = 180.0
"""4 s on an idle machine."""
AUDIT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


@dataclass(frozen=True)
class ApiServer:
    """One that runs; `kubectl` acts as a person who may do everything."""

    directory: Path
    port: int
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """What a client must trust."""
        return self.directory / "certificates" / "apiserver.crt"

    def kubeconfig(self, token: str = "", namespace: str = "default") -> Path:
        """A file for KUBECONFIG: whoever has `token`, the administrator when it is empty, in `namespace`."""
        context = {"cluster": "tier", "user": "tier", "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tier",
            "clusters": [
                {"name": "tier", "cluster": {"server": self.url, "certificate-authority": str(self.certificate)}}
            ],
            "users": [{"name": "tier", "user": {"token": token or self.token}}],
            "contexts": [{"name": "tier", "context": context}],
        }
        path = self.directory / f"kubeconfig-{secrets.token_hex(4)}.json"
        path.write_text(json.dumps(document))
        return path

    def kubectl(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> str:
        """What kubectl prints; it must succeed."""
        done = self.try_kubectl(*arguments, stdin=stdin, kubeconfig=kubeconfig)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def try_kubectl(
        self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same for what may be refused."""
        path = kubeconfig or self.kubeconfig()
        command = ["kubectl", "--kubeconfig", str(path), "--cache-dir", str(self.directory / "cache"), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)

    def read(self, *arguments: str) -> Any:
        """What `kubectl get … -o json` prints, decoded."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def account(self, namespace: str, name: str) -> str:
        """The token of a new service account."""
        self.kubectl("create", "serviceaccount", name, "-n", namespace)
        return self.kubectl("create", "token", name, "-n", namespace, "--duration", "24h").strip()

    def audited(self) -> list[dict[str, Any]]:
        """All requests so far, as the audit log has them (audit.k8s.io/v1 Event)."""
        lines = (self.directory / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def answers(self) -> bool:
        """Whether it is ready for all."""
        try:
            context = ssl.create_default_context(cafile=self.certificate)
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=context) as response:
                return int(response.status) == 200
        except (urllib.error.URLError, OSError):
            return False


def missing() -> str:
    """Why there can be none; empty when there can."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    return f"not on the PATH: {', '.join(absent)}" if absent else ""


@pytest.fixture(scope="session")
def api_server(tools: None) -> Iterator[ApiServer]:
    """One for all tests of this process: let each have a namespace of its own."""
    if reason := missing():
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    # Not pytest's directory: etcd's files would fill it, and it keeps those of three runs.
    with tempfile.TemporaryDirectory(prefix="understudy-api-") as name:
        directory = Path(name)
        with Stage(directory / "logs", dict(os.environ)) as stage:
            yield started(directory, stage)


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A new one."""
    name = f"test-{secrets.token_hex(4)}"
    api_server.kubectl("create", "namespace", name)
    return name


def started(directory: Path, stage: Stage) -> ApiServer:
    """etcd and the API server, ready, on free ports."""
    client, peer, port = free_port(), free_port(), free_port()
    (directory / "audit-policy.yaml").write_text(AUDIT_POLICY)
    key = directory / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True, timeout=60)
    server = ApiServer(directory, port, secrets.token_hex(16))
    (directory / "tokens.csv").write_text(f'{server.token},administrator,administrator,"system:masters"\n')
    stage.start("etcd", _etcd(directory, client, peer), lambda: _listens(client), READY_SECONDS)
    stage.start("kube-apiserver", _kube_apiserver(server, client, key), server.answers, READY_SECONDS)
    return server


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return int(response.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def _etcd(directory: Path, client: int, peer: int) -> list[str]:
    here, there = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        *("etcd", "--data-dir", str(directory / "etcd"), "--unsafe-no-fsync", "--log-level", "warn"),
        *("--listen-client-urls", here, "--advertise-client-urls", here),
        *("--listen-peer-urls", there, "--initial-advertise-peer-urls", there, "--initial-cluster", f"default={there}"),
    ]


def _kube_apiserver(server: ApiServer, etcd: int, key: Path) -> list[str]:
    directory = server.directory
    return [
        *("kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1"),
        *(f"--secure-port={server.port}", f"--cert-dir={directory / 'certificates'}"),
        *("--service-cluster-ip-range=10.97.0.0/16", "--authorization-mode=RBAC"),
        *(f"--token-auth-file={directory / 'tokens.csv'}", "--service-account-issuer=https://kubernetes.default.svc"),
        *(f"--service-account-signing-key-file={key}", f"--service-account-key-file={key}"),
        *(f"--audit-log-path={directory / 'audit.log'}", f"--audit-policy-file={directory / 'audit-policy.yaml'}"),
        # A person's kubectl and our operator at full speed: fairness is not what is tested here.
        "--enable-priority-and-fairness=false",
    ]
