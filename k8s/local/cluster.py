"""One kind cluster: made if it is not there, images put onto its nodes, kubectl bound to it.

Next module: `k8s.local.images`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from k8s.local.steps import run, say
from shadow.processes import StepError

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "k8s" / "kind.yaml"
TAINT: Final = "node-role.kubernetes.io/control-plane"
CREATE_SECONDS: Final = 400
LOAD_SECONDS: Final = 900
WAIT_SECONDS: Final = 240


@dataclass(frozen=True)
class Cluster:
    """A kind cluster by its name; `kubeconfig` "" is the user's own file."""

    name: str
    node_image: str = ""
    config: Path = CONFIG
    kubeconfig: str = ""

    def ensure(self) -> None:
        """Have it, with both nodes taking pods."""
        if self.exists():
            say(f"The cluster {self.name} is there.")
            return
        if taken := [str(port) for port in self.ports().values() if _taken(port)]:
            raise StepError(
                f"127.0.0.1 has no port {', '.join(taken)} left, which {self.config} asks for. End what listens there, "
                "or name others in a copy of that file: KIND_CONFIG=the copy"
            )
        image = ("--image", self.node_image) if self.node_image else ()
        run(
            *("kind", "create", "cluster", "--name", self.name, "--config", str(self.config), "--wait", "180s"),
            *(*image, *self._file()),
            remedy="See what the node says (docker logs), remove what was left (make kind-down), try again. Where "
            "Docker Hub is out of reach: KIND_NODE_IMAGE=an image that is here.",
            seconds=CREATE_SECONDS,
        )
        self.kubectl("taint", "nodes", "--selector", TAINT, f"{TAINT}-")
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s", seconds=150)

    def ports(self) -> dict[int, int]:
        """The ports of this machine by those of the nodes that they lead to."""
        nodes = yaml.safe_load(self.config.read_text())["nodes"]
        mapped = [each for node in nodes for each in node.get("extraPortMappings", ())]
        return {each["containerPort"]: each["hostPort"] for each in mapped}

    def exists(self) -> bool:
        """Whether kind has it."""
        listed = run("kind", "get", "clusters", remedy="Is Docker well? docker info", told=False)
        return self.name in listed.split()

    def delete(self) -> None:
        """Remove it with all that is in it."""
        run("kind", "delete", "cluster", "--name", self.name, *self._file(), remedy="docker ps; docker rm -f its nodes")

    def load(self, images: Iterable[str]) -> None:
        """Put images of this machine's Docker onto every node; those that are there already are passed over."""
        wanted = list(images)
        held = [self._held(node) for node in self._nodes()]
        lacking = [image for image in wanted if not all(_whole(image) in there for there in held)]
        if not lacking:
            say(f"All {len(wanted)} images are on the nodes.")
            return
        run(
            # At once: the layers that they share travel once.
            *("kind", "load", "docker-image", "--name", self.name, *lacking),
            remedy="Are they there (docker image ls), and is the disk not full (df)?",
            seconds=LOAD_SECONDS,
        )

    def _nodes(self) -> list[str]:
        return run("kind", "get", "nodes", "--name", self.name, remedy="kind get clusters", told=False).split()

    def _held(self, node: str) -> set[str]:
        """The names of the images on a node: tags here are exact, so a name is enough."""
        listed = ("ctr", "--namespace=k8s.io", "images", "list", "--quiet")
        return set(run("docker", "exec", node, *listed, remedy=f"docker logs {node}", told=False).split())

    def kubectl(self, *arguments: str, stdin: str = "", seconds: float = 120, told: bool = True) -> str:
        """What kubectl prints of this cluster."""
        return run(*self.command(*arguments), stdin=stdin, seconds=seconds, told=told, remedy=self._remedy)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The command line of kubectl for this cluster."""
        return ("kubectl", "--context", f"kind-{self.name}", *self._file(), *arguments)

    def helm(self, *arguments: str, seconds: float = 300) -> str:
        """What helm prints of this cluster."""
        context = ("--kube-context", f"kind-{self.name}")
        return run("helm", *arguments, *context, *self._file(), seconds=seconds, remedy=self._remedy)

    def apply(self, manifests: Iterable[dict[str, Any]], namespace: str) -> None:
        """Apply objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=text)

    def rolled_out(self, namespace: str, *deployments: str) -> None:
        """Wait until the newest pods of the Deployments are ready."""
        for name in deployments:
            waiting = ("rollout", "status", f"deployment/{name}", "--namespace", namespace)
            self.kubectl(*waiting, f"--timeout={WAIT_SECONDS}s", seconds=WAIT_SECONDS + 10)

    @property
    def _remedy(self) -> str:
        return f"Look at it: kubectl --context kind-{self.name} get pods,events --all-namespaces"

    def _file(self) -> tuple[str, ...]:
        return ("--kubeconfig", self.kubeconfig) if self.kubeconfig else ()


def _taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _whole(image: str) -> str:
    """The name that containerd has for `image` of Docker."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first else f"docker.io/{image}"
