"""metrics-server, which a HorizontalPodAutoscaler asks: kind brings none."""

from __future__ import annotations

import json
import os
from typing import Final

import pytest

from shadow.processes import StepError
from tests import ci_machine
from tests.cluster.kind_cluster import Kind

MANIFEST: Final = "METRICS_SERVER_MANIFEST"
"""A file or a URL with one that takes the kubelets' own certificates, where the upstream one cannot be had."""
UPSTREAM: Final = "https://github.com/kubernetes-sigs/metrics-server/releases/download/v0.9.0/components.yaml"


@pytest.fixture(scope="session")
def metrics_server(kind: Kind) -> None:
    """The pods' CPU can be asked for; skips, or fails in CI, where there is no way to the manifest."""
    manifest = os.environ.get(MANIFEST, "")
    try:
        kind.cluster.kubectl("apply", "--filename", manifest or UPSTREAM)
    except StepError as error:
        reason = f"no metrics-server ({MANIFEST}=a file that is here): {error}"
        if ci_machine.provides():
            pytest.fail(reason)
        pytest.skip(reason)
    there = ("--namespace", "kube-system")
    if not manifest:
        # kind's kubelets sign for themselves.
        flag = {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}
        patch = ("patch", "deployment", "metrics-server", "--type", "json", "--patch", json.dumps([flag]))
        kind.cluster.kubectl(*there, *patch)
    kind.cluster.rolled_out("kube-system", "metrics-server")
    available = ("wait", "apiservice/v1beta1.metrics.k8s.io", "--for=condition=Available", "--timeout=120s")
    kind.cluster.kubectl(*available, seconds=130)
