"""What the charts and k8s/dev render is taken by a real API server: its schemas, its defaults, its admission."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.cluster.api_server import ApiServer
from tests.helm.conftest import ROOT
from tests.helm.test_charts import SCENARIOS

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("api_server")]


def template(*arguments: str) -> str:
    if shutil.which("helm") is None:
        pytest.skip("helm is not on the PATH")
    command = ["helm", "template", "understudy", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_is_taken(api_server: ApiServer, namespace: str, scenario: str) -> None:
    # A PodMonitor is prometheus-operator's; its kind is not known here.
    values = ("--values", f"helm/understudy/ci/{scenario}", "--set", "podMonitor.enabled=false")
    text = template("helm/understudy", "--namespace", namespace, *values)
    # What a controller would make, and none runs here.
    api_server.kubectl("create", "serviceaccount", "default", "-n", namespace)
    told = api_server.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", "-", stdin=text)
    assert "deployment.apps/understudy-operator created (server dry run)" in told


def test_the_resource_is_taken_and_explained(api_server: ApiServer) -> None:
    text = template("helm/understudy-crds")
    api_server.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=text)


def test_the_parts_for_development_are_taken(api_server: ApiServer, namespace: str) -> None:
    told = api_server.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", str(ROOT / "k8s/dev"))
    assert {line.partition(" ")[0] for line in told.splitlines()} >= {
        f"deployment.apps/{name}" for name in ("redis", "store", "prometheus", "mlflow")
    }
