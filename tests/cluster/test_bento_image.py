"""The image of a bento: small enough, nobody's root, a read-only root, ready in seconds, and answering with Redis."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bentos.serve_cli import KEEP_ALIVE_SECONDS
from shadow.rehearsal import HOST, command
from tests.bentos.bundles import synthetic_bundle
from tests.cluster.conftest import docker
from tests.integration.served import environment
from tests.ports import free_port

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("docker")]
MOST_MEGABYTES = 550
READY_SECONDS = 8.0
STARTS = 3
"""The first reads the image from the disk, and other tests may have the cores: the best of them counts."""
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--user", "1034", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--pids-limit", "128", "--memory", "1g"),
)


@pytest.fixture(scope="module")
def built(docker_there: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, int, Path]]:
    """(the bento's tag, the image's name, its size in bytes, the bundle)."""
    directory = tmp_path_factory.mktemp("image")
    synthetic_bundle(directory / "bundle")
    names = environment(directory / "bentoml")

    def run(*arguments: str | Path, seconds: float) -> str:
        done = subprocess.run(command(*arguments), env=names, capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    tag = run("bento", "build", directory / "bundle", seconds=120)
    image = f"understudy-test-{tag}"
    made = json.loads(run("bento", "containerize", tag, "--image", image, "--json", seconds=800))
    assert made["image"] == image
    yield tag, image, made["bytes"], directory / "bundle"
    docker("image", "rm", "--force", image)


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Seconds until it held."""
    started = time.monotonic()
    pause = threading.Event()
    while not condition():
        assert time.monotonic() - started < seconds, "not in time"
        pause.wait(0.02)
    return time.monotonic() - started


def ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/readyz", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def test_it_is_small_and_says_what_it_is(built: tuple[str, str, int, Path]) -> None:
    tag, image, size, _ = built
    assert size / 1e6 <= MOST_MEGABYTES
    config = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert config["User"] == "1034:1034"
    assert config["Labels"]["dev.understudy.bento"] == tag
    assert len(config["Labels"]["dev.understudy.content"]) == 12
    assert config["Cmd"] == ["serve", "--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)]


def test_an_installer_finds_its_packages_whole_and_only_pinned_ones(built: tuple[str, str, int, Path]) -> None:
    _, image, _, _ = built
    run = ("run", "--rm", "--network", "none", "--entrypoint")
    pip = ("pip", "--python", "/app/.venv/bin/python")
    assert docker(*run, pip[0], image, *pip[1:], "check").splitlines()[-1] == "No broken requirements found."
    frozen = docker(*run, pip[0], image, *pip[1:], "freeze").lower().replace("_", "-").splitlines()
    requirements = docker(*run, "cat", image, "src/requirements.txt").splitlines()
    exact = {line for line in requirements if ";" not in line}
    conditional = {line.split(";")[0].split(">")[0].split("=")[0].strip() for line in requirements if ";" in line}
    assert exact <= set(frozen)
    assert {line.split("==")[0] for line in set(frozen) - exact} <= conditional


def test_hardened_it_is_ready_in_time_answers_with_redis_and_drains(built: tuple[str, str, int, Path]) -> None:
    tag, image, _, bundle = built
    port, redis_port, name = free_port(), free_port(), f"understudy-test-{free_port()}"
    network = ("--network", name)
    docker("network", "create", name)
    try:
        published = ("--publish", f"{HOST}:{redis_port}:6379")
        docker("run", "--detach", "--name", f"{name}-redis", *network, *published, "redis:7-bookworm")
        url = f"redis://{HOST}:{redis_port}/0"
        until(lambda: "PONG" in docker("exec", f"{name}-redis", "redis-cli", "ping", check=False), 30)
        load = command("features", "load", bundle, "--redis", url)
        subprocess.run(load, check=True, capture_output=True, timeout=60)
        variables = ("--env", f"UNDERSTUDY_REDIS_URL=redis://{name}-redis:6379/0")
        variables += ("--env", "UNDERSTUDY_FEATURE_DEADLINE_MS=1000")
        published = ("--publish", f"{HOST}:{port}:3000")
        start = ("run", "--detach", "--name", name, *network, *published, *HARDENED, *variables, image)
        docker(*start)
        seconds = [until(lambda: ready(port), 60)]
        while min(seconds) > READY_SECONDS and len(seconds) < STARTS:
            docker("rm", "--force", name)
            docker(*start)
            seconds.append(until(lambda: ready(port), 60))
        print(f"ready after {min(seconds):.1f} s")
        assert min(seconds) <= READY_SECONDS
        answer = httpx.get(f"http://{HOST}:{port}/recommend", params={"user_id": "u0001", "k": 5}).json()
        assert (answer["source"], len(answer["items"]), answer["model"]["bento"]) == ("hybrid", 5, tag)
        assert docker("exec", name, "id", "-u") == "1034"
        assert "Read-only" in docker("exec", name, "touch", "/home/bentoml/x", check=False)
        docker("stop", "--time", "20", name, seconds=30)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"
    finally:
        docker("rm", "--force", name, f"{name}-redis", check=False)
        docker("network", "rm", name, check=False)
