"""Examples and what they are rendered to, at a real API server, and under kube-score's eyes."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from shadow.controller.generated import CRD_FILE, EXAMPLES, RENDERED, ROOT
from tests.cluster.api_server import ApiServer

pytestmark = pytest.mark.xdist_group("api-server")


@pytest.fixture(scope="module", autouse=True)
def installed(api_server: ApiServer) -> None:
    """The definition, and the namespace of the full example."""
    api_server.kubectl("apply", "--server-side", "-f", str(ROOT / CRD_FILE))
    api_server.kubectl("wait", "--for=condition=Established", "crd/shadowdeployments.understudy.dev", "--timeout=60s")
    if api_server.try_kubectl("get", "namespace", "shop").returncode:
        api_server.kubectl("create", "namespace", "shop")


@pytest.mark.parametrize("name", RENDERED)
def test_the_server_takes_every_example(api_server: ApiServer, name: str) -> None:
    api_server.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(ROOT / EXAMPLES / name))


@pytest.mark.parametrize("name", RENDERED)
def test_the_server_takes_what_an_example_is_rendered_to(api_server: ApiServer, name: str) -> None:
    path = str(ROOT / "k8s/rendered" / name)
    text = api_server.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", path)
    assert "-primary created (server dry run)" in text


@pytest.mark.parametrize("name", RENDERED)
def test_kube_score_finds_nothing_critical(tools: None, name: str) -> None:
    if not shutil.which("kube-score"):
        reason = "kube-score is not on the PATH"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    # Production's CPU is not limited: a limit that is reached is latency for users, and the arms have one.
    command = ["kube-score", "score", "--kubernetes-version", "v1.30", "--ignore-container-cpu-limit", "-o", "ci"]
    path = str(ROOT / "k8s/rendered" / name)
    done = subprocess.run([*command, path], capture_output=True, text=True, timeout=120)
    assert [line for line in done.stdout.splitlines() if line.startswith("[CRITICAL]")] == []
    assert done.stdout.count("[OK]") > 20
