"""`understudy` on this machine with what is in the cluster: features into its Redis, pairs out of its store.

Next module: `k8s.local.demonstration`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from k8s.local.cluster import Cluster
from k8s.local.development import found, reader
from k8s.local.forwarding import forwarded
from k8s.local.steps import run, say
from shadow.rehearsal import HOST, command


def understudy(
    *arguments: str | Path, more: Mapping[str, str] | None = None, seconds: float = 120, told: bool = True
) -> str:
    """What a command of ours prints; `more` for its environment. `StepError` when it fails."""
    if told:
        say(f"$ understudy {shlex.join(map(str, arguments))}")
    return run(*command(*arguments), remedy="", more=more, seconds=seconds, told=False)


def load_features(cluster: Cluster, namespace: str, bundles: Iterable[Path]) -> None:
    """The vectors of `bundles` into the namespace's Redis."""
    url = found(cluster, namespace, "understudy-redis")["writer-url"]
    with forwarded(cluster, namespace, "service/redis", 6379) as port:
        here = {"UNDERSTUDY_REDIS_URL": url.replace("@redis:6379", f"@{HOST}:{port}")}
        for bundle in bundles:
            understudy("features", "load", bundle, more=here)


@contextmanager
def log_readable(cluster: Cluster, namespace: str) -> Iterator[Mapping[str, str]]:
    """What `understudy pairs` needs in its environment to read the namespace's store, for the length of the block."""
    with forwarded(cluster, namespace, "service/store", 7070) as port:
        yield {**reader(cluster, namespace), "AWS_ENDPOINT_URL": f"http://{HOST}:{port}"}
