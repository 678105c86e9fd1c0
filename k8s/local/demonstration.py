"""`make kind-demo`: two versions made up, one serves and one is on trial, traffic, and the pairs that come of it.

The catalogue and the users are SYNTHETIC: the path is shown, not the quality. Next module: `k8s.local.__main__`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from string import Template
from typing import Any, Final

from k8s.local.cluster import ROOT, Cluster
from k8s.local.commands import load_features, log_readable, understudy
from k8s.local.images import bento
from k8s.local.steps import Steps, say
from shadow.processes import StepError

WORK: Final = ROOT / ".understudy" / "kind"
RESOURCE: Final = ROOT / "k8s" / "demo" / "recommender.yaml"
NAME: Final = "recommender"
MODELS: Final = {"champion": 1, "challenger": 2}
"""Model: seed."""
USERS, ITEMS, DIMENSION = 2_000, 1_000, 16
REQUESTS, RPS = 3_000, 60
NODE_PORT: Final = 30_080
"""Of the nodes; a port of this machine leads there, and from there it goes to the Service."""
READY_SECONDS: Final = 300
PAIRS: Final = "s3://pairs/recommender"


def demonstrate(cluster: Cluster, namespace: str, steps: Steps) -> None:
    """The whole path; a step that is done already is done again without harm."""
    steps.tell(f"Two versions, {ITEMS:,} items, SYNTHETIC: bundles, bentos, images")
    versions = {name: _version(name) for name in MODELS}
    cluster.load(version["image"] for version in versions.values())
    steps.tell("Features into Redis")
    load_features(cluster, namespace, (WORK / name for name in MODELS))
    if not _serving(cluster, namespace):
        steps.tell("The champion serves")
        _apply(cluster, namespace, versions["champion"])
        _wait(cluster, namespace, "Ready")
    steps.tell("The challenger on trial: spec.model changes, the champion goes on serving")
    _apply(cluster, namespace, versions["challenger"])
    _wait(cluster, namespace, "ShadowReady")
    steps.tell(f"Traffic: {REQUESTS:,} requests at {RPS} a second")
    _replay(cluster.ports()[NODE_PORT])
    steps.tell("The pairs, from the store")
    _read_pairs(cluster, namespace)
    say(cluster.kubectl("get", "sd", "--namespace", namespace, told=False))


def _version(name: str) -> dict[str, str]:
    bundle = WORK / name
    if not (bundle / "manifest.json").exists():
        shape = ("--users", str(USERS), "--items", str(ITEMS), "--dimension", str(DIMENSION))
        made = ("--norms", "lognormal", "--interactions", "100000", "--seed", str(MODELS[name]))
        understudy("data", "synth", *shape, *made, "--bundle", bundle, seconds=300)
    tag, image = bento(bundle)
    return {"name": tag.partition(":")[0], "bento": tag, "image": image}


def _apply(cluster: Cluster, namespace: str, version: Mapping[str, str]) -> None:
    text = Template(RESOURCE.read_text()).substitute(version)
    cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=text)


def _serving(cluster: Cluster, namespace: str) -> bool:
    there = cluster.kubectl("get", "sd", NAME, "--namespace", namespace, "--ignore-not-found", "-o", "json", told=False)
    return bool(there.strip()) and bool(json.loads(there).get("status", {}).get("primary"))


def _wait(cluster: Cluster, namespace: str, condition: str) -> None:
    waiting = ("wait", f"sd/{NAME}", f"--for=condition={condition}", "--namespace", namespace)
    cluster.kubectl(*waiting, f"--timeout={READY_SECONDS}s", seconds=READY_SECONDS + 10)


def _replay(port: int) -> None:
    users = json.loads((WORK / "champion" / "user_ids.json").read_bytes())
    lines = ({"event_time_us": n * 1_000, "user_id": users[n % len(users)]} for n in range(1, REQUESTS + 1))
    requests = WORK / "requests.jsonl"
    requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
    paced = ("--rhythm", "constant", "--rps", str(RPS))
    understudy("replay", "--requests", requests, "--to", f"http://127.0.0.1:{port}", *paced, seconds=300)


def _read_pairs(cluster: Cluster, namespace: str, seconds: float = 120) -> None:
    """Print what the log has, once its segments are up."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    with log_readable(cluster, namespace) as here:
        while _pairs(here) < REQUESTS:
            if time.monotonic() > deadline:
                raise StepError(
                    f"fewer than {REQUESTS} pairs came to {PAIRS}: kubectl logs deploy/{NAME}-primary shipper"
                )
            pause.wait(2)
        say(understudy("pairs", "stats", PAIRS, more=here))


def _pairs(here: Mapping[str, str]) -> int:
    try:
        stats: Any = json.loads(understudy("pairs", "stats", PAIRS, "--json", more=here, told=False))
    except StepError:
        return 0
    return int(sum(stats["arms"].get("shadow", {}).get("outcomes", {}).values()))
