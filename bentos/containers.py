"""From a bento to an image, by the docker command and a Dockerfile of our own (`bentos/bento.Dockerfile`).

Next module: `bentos.command_parts`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from bentos.errors import PackagingError
from bentos.packaging import DOCKERFILE, ROOM, ensure_built, stored_content
from bentos.settings import container_environment, search_path

BUILD_SECONDS: Final = 1_800
ASK_SECONDS: Final = 30
LABEL: Final = "dev.understudy."
MODELS: Final = "models"
"""Where BentoML looks for the models of the bento that it serves from a directory."""


def containerize(tag: str, image: str | None = None) -> tuple[str, int]:
    """Build the image of the bento `tag`; returns (its name, its size in bytes). `PackagingError` says what lacks.

    The image is called as the bento, or `image`; its labels are the bento's tag and content hash.
    """
    ensure_docker()
    ensure_built(tag)
    name = image or tag
    labels = {"bento": tag, "content": stored_content(tag)}
    told = [part for key, value in labels.items() for part in ("--label", f"{LABEL}{key}={value}")]
    with tempfile.TemporaryDirectory(prefix="understudy-image-") as directory:
        context = Path(directory) / "context"
        lay_out(tag, context)
        done = _docker(
            "build", "--tag", name, *told, "--file", str(context / DOCKERFILE), str(context), most=BUILD_SECONDS
        )
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise PackagingError(f"{tag}: docker did not build the image:\n{lines}")
    return name, int(_docker("image", "inspect", "--format", "{{.Size}}", name).stdout)


def lay_out(tag: str, context: Path) -> None:
    """The bento `tag` with its models and our Dockerfile in the directory `context`, as the image has them."""
    import bentoml

    bento = bentoml.get(tag)
    shutil.copytree(bento.path, context)
    for info in bento.info.all_models:
        model = bentoml.models.get(info.tag)
        home = context / MODELS / model.tag.name
        shutil.copytree(model.path, home / str(model.tag.version))
        (home / "latest").write_text(str(model.tag.version))
    shutil.copyfile(ROOM / DOCKERFILE, context / DOCKERFILE)


def ensure_docker() -> None:
    """`PackagingError` unless the docker command is there and its daemon answers."""
    if shutil.which("docker", path=search_path()) is None:
        raise PackagingError("docker is not on the PATH: install it (https://docs.docker.com/engine/install)")
    done = _docker("version", "--format", "{{.Server.Version}}")
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise PackagingError(f"docker does not answer ({''.join(last)}): start it, or let this user use it")


def _docker(*arguments: str, most: float = ASK_SECONDS) -> subprocess.CompletedProcess[str]:
    environment = container_environment()
    try:
        return subprocess.run(
            ["docker", *arguments], env=environment, capture_output=True, text=True, timeout=most, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PackagingError(f"docker {arguments[0]} took longer than {most:.0f} s: is its daemon well?") from error
