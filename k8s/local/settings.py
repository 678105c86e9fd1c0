"""What `make kind-up` and its like take from the environment. Next module: `k8s.local.steps`."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """Of every command: the classic builder, which every Docker has; BentoML's reports are off."""
    return os.environ | {"DOCKER_BUILDKIT": "0", "BENTOML_DO_NOT_TRACK": "True"}


def node_image() -> str:
    """KIND_NODE_IMAGE: the nodes' image; "" (the default): kind's own."""
    return os.environ.get("KIND_NODE_IMAGE", "")


def kind_config() -> str:
    """KIND_CONFIG: a file in the place of k8s/kind.yaml, for other ports here; "" (the default): that one."""
    return os.environ.get("KIND_CONFIG", "")


def cluster_name() -> str:
    """KIND_CLUSTER: the cluster's name. Default: understudy."""
    return os.environ.get("KIND_CLUSTER", "understudy")
