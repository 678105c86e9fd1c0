"""What the charts and k8s/dev render is taken by a real API server: its schemas, its defaults, its admission."""

from __future__ import annotations

import pytest

from tests.cluster.api_server import ApiServer
from tests.helm.conftest import ROOT, Run
from tests.helm.test_charts import SCENARIOS, rendered

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("api-server")]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_is_taken(api_server: ApiServer, run: Run, namespace: str, scenario: str) -> None:
    # A PodMonitor is prometheus-operator's; its kind is not known here.
    values = ("--values", f"helm/understudy/ci/{scenario}", "--set", "podMonitor.enabled=false")
    text = rendered(run, *values, namespace=namespace)
    # What a controller would make, and none runs here.
    api_server.kubectl("create", "serviceaccount", "default", "-n", namespace)
    told = api_server.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", "-", stdin=text)
    assert "deployment.apps/understudy-operator created (server dry run)" in told


def test_the_resource_is_taken(api_server: ApiServer, run: Run) -> None:
    text = rendered(run, chart="understudy-crds")
    api_server.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=text)


def test_the_parts_for_development_are_taken(api_server: ApiServer, namespace: str) -> None:
    told = api_server.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", str(ROOT / "k8s/dev"))
    assert {line.partition(" ")[0] for line in told.splitlines()} >= {
        f"deployment.apps/{name}" for name in ("redis", "store", "prometheus", "mlflow")
    }
