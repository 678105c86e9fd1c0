"""Images by exact tags: what they hold is in the tag, so a pod never runs another than was meant, and an image that did
not change restarts nothing. Next module: `k8s.local.development`.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Final

from k8s.local.cluster import ROOT
from k8s.local.steps import run, say
from shadow.rehearsal import command

DIGITS: Final = 12
BUILD_SECONDS: Final = 1_200
STAND_INS: Final = ("redis:7-bookworm", "versity/versitygw:v1.8.0", "prom/prometheus:v2.42.0")
"""What k8s/dev names, pulled where it is not there."""


def built(name: str) -> str:
    """Build k8s/images/NAME; its exact tag `understudy-NAME:VERSION-DIGITS`, the digits being those of its content."""
    file, image = ROOT / "k8s" / "images" / name / "Dockerfile", f"understudy-{name}:building"
    remedy = "The build reaches the package index as this machine does: is there a way to it?"
    run("docker", "build", "--tag", image, "--file", str(file), str(ROOT), remedy=remedy, seconds=BUILD_SECONDS)
    found = json.loads(run("docker", "image", "inspect", image, remedy=remedy, told=False))[0]
    exact = f"understudy-{name}:{_version()}-{found['Id'].removeprefix('sha256:')[:DIGITS]}"
    run("docker", "tag", image, exact, remedy=remedy, told=False)
    say(f"{exact}  {found['Size'] / 1e6:.0f} MB")
    return exact


def present(image: str) -> str:
    """`image`, pulled if this machine's Docker does not have it."""
    remedy = f"Is there a way to its registry? Else load it: docker load < {image.partition(':')[0]}.tar"
    if not run("docker", "image", "ls", "--quiet", image, remedy=remedy, told=False).strip():
        run("docker", "pull", image, remedy=remedy, seconds=BUILD_SECONDS)
    return image


def bento(bundle: Path) -> tuple[str, str]:
    """(tag, image) of the bundle's bento, built by `understudy bento`; the image has the bento's content in its tag."""
    remedy = "Is the bundle whole, and Docker well?"
    printed = run(*command("bento", "build", bundle), remedy=remedy, seconds=300)
    tag = printed.splitlines()[-1].strip()
    image = f"understudy-bento-{tag}"
    run(*command("bento", "containerize", tag, "--image", image), remedy=remedy, seconds=BUILD_SECONDS)
    return tag, image


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
