"""`python -m k8s.local up|demo|down|secrets`: a cluster of one's own. Every step may be done again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from k8s.local import charts
from k8s.local.cluster import CONFIG, ROOT, Cluster
from k8s.local.demonstration import NODE_PORT, demonstrate
from k8s.local.development import PARTS, apply_parts, ensure_secrets
from k8s.local.images import STAND_INS, built, present
from k8s.local.settings import cluster_name, kind_config, node_image
from k8s.local.steps import Steps, ensure_tools, failed, say
from shadow.processes import StepError

NAMESPACE: Final = "recommender"
TOOLS: Final = ("docker", "kind", "kubectl", "helm")
OURS: Final = ("control", "router", "mlflow")
PROMETHEUS: Final = {"app.kubernetes.io/name": "prometheus"}
USAGE: Final = "usage: python -m k8s.local up|demo|down, or secrets [NAMESPACE]"


def up(cluster: Cluster) -> None:
    """Cluster, images, charts, and the parts for development."""
    steps = Steps(5)
    steps.tell("Programs, and Docker")
    ensure_tools(TOOLS)
    steps.tell(f"The kind cluster {cluster.name}")
    cluster.ensure()
    steps.tell("Images: built, and put onto the nodes")
    images = {name: built(name) for name in OURS}
    cluster.load([*images.values(), *map(present, STAND_INS)])
    steps.tell(f"Redis, S3, Prometheus, MLflow in the namespace {NAMESPACE}")
    ensure_namespace(cluster, NAMESPACE)
    ensure_secrets(cluster, NAMESPACE)
    apply_parts(cluster, NAMESPACE, *PARTS, mlflow_image=images["mlflow"])
    cluster.kubectl("apply", "--namespace", NAMESPACE, "--filename", str(ROOT / "k8s/dev/ports/looked-at.yaml"))
    steps.tell("The charts")
    watched = ("--set-json", f"networkPolicy.monitoring={json.dumps([{'podSelector': {'matchLabels': PROMETHEUS}}])}")
    charts.install(cluster, NAMESPACE, images["control"], images["router"], *watched)
    ports = cluster.ports()
    prometheus, mlflow = (f"http://127.0.0.1:{ports[port]}" for port in (30_090, 30_050))
    say(f"\nIt stands. Prometheus: {prometheus}, MLflow: {mlflow}. Go on: make kind-demo")


def demo(cluster: Cluster) -> None:
    """The example on what `up` has made."""
    ensure_tools(TOOLS)
    if not cluster.exists():
        raise StepError("there is no cluster yet: make kind-up")
    steps = Steps(6)
    demonstrate(cluster, NAMESPACE, steps)
    look = f"curl 'http://127.0.0.1:{cluster.ports()[NODE_PORT]}/recommend?user_id=u1'"
    say(f"\nGo on: kubectl -n {NAMESPACE} get sd -w; {look}; make kind-down")


def down(cluster: Cluster) -> None:
    """Nothing of the cluster stays."""
    if cluster.exists():
        cluster.delete()
    say("The cluster is gone; images and .understudy/kind stay (docker image ls, make clean).")


def ensure_namespace(cluster: Cluster, name: str) -> None:
    """Have the namespace."""
    text = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.kubectl("apply", "--filename", "-", stdin=text)


def main(words: list[str]) -> int:
    """Do what `words` say; the exit code."""
    cluster = Cluster(cluster_name(), node_image(), Path(kind_config() or CONFIG))
    try:
        match words:
            case ["up"]:
                up(cluster)
            case ["demo"]:
                demo(cluster)
            case ["down"]:
                down(cluster)
            case ["secrets", *rest] if len(rest) <= 1:
                ensure_secrets(cluster, *rest or [NAMESPACE])
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except StepError as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
