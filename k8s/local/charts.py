"""The charts on a cluster: the resource for all of it, the operator in one namespace.

Next module: `k8s.local.forwarding`.
"""

from __future__ import annotations

from typing import Final

from k8s.local.cluster import ROOT, Cluster

CHARTS: Final = ROOT / "helm"
RELEASE: Final = "understudy"


def install(cluster: Cluster, namespace: str, control: str, router: str, *more: str) -> None:
    """Install both, or renew them, by these images, and wait for the operator; `more` is for helm."""
    cluster.helm("upgrade", "--install", "understudy-crds", str(CHARTS / "understudy-crds"), "--wait")
    tags = {"image.tag": control, "router.image.tag": router}
    values = [part for key, image in tags.items() for part in ("--set-string", f"{key}={image.partition(':')[2]}")]
    chart = ("upgrade", "--install", RELEASE, str(CHARTS / "understudy"), "--namespace", namespace)
    token = ("--set", "control.existingSecret=understudy-router")
    cluster.helm(*chart, *values, *more, *token, "--wait", "--timeout", "3m")
