"""`make kind-up` without a cluster: failing steps say what to do, Secrets are whole, the example is a resource."""

from __future__ import annotations

import base64
import json
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import pytest
import yaml

from bentos.redis_acl import USERS
from k8s.local.__main__ import main
from k8s.local.cluster import CONFIG, Cluster, _whole
from k8s.local.demonstration import NODE_PORT, RESOURCE
from k8s.local.development import ensure_secrets
from k8s.local.steps import ensure_tools, run
from shadow.controller.checks import parse
from shadow.processes import StepError


def test_a_program_that_lacks_is_named_with_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match="kind: install kind") as told:
        ensure_tools(("docker", "kind"))
    assert "docker: install Docker" in str(told.value)
    assert main(["up"]) == 1


def test_a_step_that_fails_shows_its_last_lines_and_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('the reason'); sys.exit(3)"
    with pytest.raises(StepError, match=r"the reason\nLook there\."):
        run(sys.executable, "-c", program, remedy="Look there.")
    assert capsys.readouterr().out.startswith("$ ")


def test_a_step_that_hangs_is_ended() -> None:
    with pytest.raises(StepError, match="took longer than 1 s"):
        run(sys.executable, "-c", "import signal; signal.pause()", remedy="", seconds=1)


def test_other_words_are_told_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upp"]) == 2
    assert "up|demo|down" in capsys.readouterr().err


@dataclass(frozen=True)
class Namespace(Cluster):
    """A namespace that holds what was applied to it."""

    held: dict[str, dict[str, str]] = field(default_factory=dict)

    def kubectl(self, *arguments: str, stdin: str = "", seconds: float = 120, told: bool = True) -> str:
        if arguments[0] == "get":
            found = self.held.get(arguments[2])
            data = {key: base64.b64encode(value.encode()).decode() for key, value in (found or {}).items()}
            return json.dumps({"data": data}) if found else ""
        for item in json.loads(stdin)["items"]:
            self.held[item["metadata"]["name"]] = item["stringData"]
        return ""


def test_secrets_are_made_once_and_fit_together() -> None:
    held: dict[str, dict[str, str]] = {}
    ensure_secrets(Namespace("none", held=held), "any")
    assert held.keys() == {"understudy-redis", "understudy-store-accounts", "understudy-store", "understudy-router"}
    lines = held["understudy-redis"]["users.acl"].splitlines()
    assert lines[0] == "user default off"
    for user, line in zip(USERS, lines[1:], strict=True):
        url = held["understudy-redis"][f"{user.name.removeprefix('understudy-')}-url"]
        password = url.removeprefix(f"redis://{user.name}:").partition("@")[0]
        assert line == user.line(password)
    before = {name: dict(values) for name, values in held.items()}
    # One that went is made again, and fits those that stayed.
    del held["understudy-store"]
    ensure_secrets(Namespace("none", held=held), "any")
    assert held == before


def test_the_example_of_the_demonstration_is_a_resource() -> None:
    values = {"name": "champion", "bento": "champion:336f13f24e56", "image": "champion:336f13f24e56"}
    resource = parse(Template(RESOURCE.read_text()).substitute(values).encode())
    assert resource.spec.model.bento == "champion:336f13f24e56"
    assert resource.metadata.name == "recommender"


def test_the_clusters_ports_are_on_the_loopback_alone() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    ports = [port for node in config["nodes"] for port in node.get("extraPortMappings", ())]
    assert {port["listenAddress"] for port in ports} == {"127.0.0.1"}
    assert Cluster("any").ports()[NODE_PORT] == 18_080


def test_a_port_that_is_taken_is_named_before_a_cluster_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = tmp_path / "kind.yaml"
        config.write_text(json.dumps({"nodes": [{"extraPortMappings": [{"containerPort": 1, "hostPort": port}]}]}))
        cluster = Cluster("any", config=config)
        monkeypatch.setattr(Cluster, "exists", lambda _: False)
        with pytest.raises(StepError, match=rf"no port {port} left.*KIND_CONFIG"):
            cluster.ensure()


def test_images_are_known_on_a_node_by_the_names_that_containerd_gives_them() -> None:
    names = (
        "redis:7-bookworm",
        "versity/versitygw:v1.8.0",
        "registry.example.com/team/control:1",
        "localhost:5000/a:1",
    )
    assert [_whole(name) for name in names] == [
        "docker.io/library/redis:7-bookworm",
        "docker.io/versity/versitygw:v1.8.0",
        *names[2:],
    ]
