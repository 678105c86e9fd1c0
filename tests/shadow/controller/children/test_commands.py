"""The containers of the primary's pod, run here: command, environment and files are what router and shipper take."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from shadow.controller.children import children
from shadow.controller.overlay import VOLUMES
from shadow.controller.resource import Platform
from shadow.controller.router_config import ADMIN, LISTEN_PORT, OBSERVE_PORT, SHIPPER_PORT
from shadow.processes import Stage, answers
from tests.ports import free_port
from tests.shadow.controller.children.test_children import named
from tests.shadow.controller.resources import ALONE, ON_TRIAL, resource

READY_SECONDS = 120.0


class Pod:
    """The primary's pod in a directory: volumes become folders, ports free ones."""

    def __init__(self, directory: Path, platform: Platform) -> None:
        found = named(children(resource(), ON_TRIAL, platform))
        pod = found["Deployment", "recommender-primary"]["spec"]["template"]["spec"]
        self._containers = {each["name"]: each for each in pod["initContainers"]}
        self._moved = {path: str(directory / name) for name, path in VOLUMES.items() if path != "/tmp"}
        self.observe, self.shipper = free_port(), free_port()
        self._moved |= {
            f"0.0.0.0:{LISTEN_PORT}": f"127.0.0.1:{free_port()}",
            f"0.0.0.0:{OBSERVE_PORT}": f"127.0.0.1:{self.observe}",
            f"0.0.0.0:{SHIPPER_PORT}": f"127.0.0.1:{self.shipper}",
            ADMIN: f"127.0.0.1:{free_port()}",
        }
        for name in VOLUMES:
            (directory / name).mkdir()
        config = found["ConfigMap", "recommender-router"]["data"]["router.json"]
        (directory / "config" / "router.json").write_text(self._here(config))

    def _here(self, text: str) -> str:
        for there, here in self._moved.items():
            text = text.replace(there, here)
        return text

    def environment(self) -> dict[str, str]:
        """Of all containers; secrets are made up."""
        made = dict(os.environ)
        for container in self._containers.values():
            for one in container["env"]:
                made[one["name"]] = self._here(one.get("value", "s" * 32))
        return made

    def command(self, name: str) -> list[str]:
        command: list[Any] = json.loads(self._here(json.dumps(self._containers[name]["command"])))
        assert command[0] == "understudy"
        return [sys.executable, "-m", "shadow", *command[1:]]


@pytest.mark.parametrize("control", ["", "http://127.0.0.1:1/control"])
def test_router_and_shipper_start_by_their_containers_words_also_while_the_operator_is_away(
    tmp_path: Path, control: str
) -> None:
    pod = Pod(tmp_path, Platform(router_image=ALONE.router_image, control_url=control))
    with Stage(tmp_path / "logs", pod.environment()) as stage:
        for name, port, path in (("shipper", pod.shipper, "metrics"), ("router", pod.observe, "readyz")):
            url = f"http://127.0.0.1:{port}/{path}"
            stage.start(name, pod.command(name), lambda url=url: answers(url), READY_SECONDS)  # type: ignore[misc]
        assert answers(f"http://127.0.0.1:{pod.observe}/livez")
        assert (tmp_path / "run" / "shipper.sock").exists()
