"""The packages of our images, from what their modules import and `constraints.txt`: `update` or `verify` the files.

    python -m k8s.images.requirements verify

What a module imports is in `Image.packages`, or the tests fail; what those need is found as for bentos
(`bentos.pinned`); versions are those of `constraints.txt`, whatever is installed here. Next: the Dockerfiles beside it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bentos.pinned import pinned

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
CONSTRAINTS: Final = ROOT / "constraints.txt"
HEADER: Final = "# Made by `make update-images` from constraints.txt; `make verify-images` checks it.\n"


@dataclass(frozen=True)
class Image:
    """What one image runs and holds."""

    name: str
    """Its directory below `k8s/images`; the image is understudy-NAME."""
    entries: tuple[str, ...]
    """The modules of the commands that it is for."""
    packages: tuple[str, ...]
    """What these modules import, and hiredis, which redis uses when it is there."""
    rooms: tuple[str, ...]
    """Packages of ours that it may hold."""
    alone: tuple[str, ...] = ()
    """Packages that it holds without all that they ask for, for the server loads without: half of MLflow is that."""


ROUTER: Final = Image(
    name="router",
    entries=("shadow.cli", "shadow.router.cli"),
    packages=("click", "httptools", "msgspec", "obstore", "prometheus-client", "uvloop", "zstandard"),
    rooms=("shadow",),
)
CONTROL: Final = Image(
    name="control",
    entries=(
        *(
            "shadow.cli",
            "shadow.controller.cli",
            "shadow.controller.render",
            "shadow.pairs_cli",
            "shadow.replay.cli",
            "shadow.load",
        ),
        *("bentos.features_cli", "bentos.registry", "analysis.cli"),
    ),
    packages=(
        *(
            "aiohttp",
            "click",
            "distributed",
            "faiss-cpu",
            "hiredis",
            "httptools",
            "httpx",
            "jinja2",
            "kopf",
            "kubernetes",
            "markupsafe",
            "msgspec",
        ),
        *("numpy", "obstore", "prometheus-client", "pyarrow", "pydantic", "pyyaml", "redis", "rich", "scipy"),
        *("uvloop", "zstandard"),
    ),
    rooms=("analysis", "bentos", "shadow"),
)
MLFLOW: Final = Image(
    name="mlflow",
    entries=(),
    packages=(
        *("aiohttp", "alembic", "cryptography", "docker", "flask", "flask-cors", "graphene", "gunicorn", "huey"),
        *("mlflow-skinny", "numpy", "pandas", "sqlalchemy"),
    ),
    rooms=(),
    alone=("mlflow", "mlflow-tracing"),
)
"""A registry for development (k8s/dev): no scikit-learn, scipy, matplotlib, pyarrow."""
OURS: Final = (ROUTER, CONTROL)
IMAGES: Final = (*OURS, MLFLOW)


def requirements(image: Image) -> str:
    """The text of the image's requirements.txt; `KeyError` names a package that constraints.txt does not have."""
    lines = CONSTRAINTS.read_text().splitlines()
    wanted = {canonicalize_name(Requirement(line).name): line for line in lines if line and not line.startswith("#")}
    names = sorted({canonicalize_name(Requirement(line).name) for line in (*pinned(image.packages), *image.alone)})
    return HEADER + "".join(f"{wanted[name]}\n" for name in names)


def path(image: Image) -> Path:
    """Where the image's requirements are."""
    return HERE / image.name / "requirements.txt"


def main(words: list[str]) -> int:
    """`update` writes the files, `verify` compares them; the exit code."""
    if words not in (["update"], ["verify"]):
        print("usage: python -m k8s.images.requirements update|verify", file=sys.stderr)
        return 2
    stale = [image for image in IMAGES if not path(image).exists() or path(image).read_text() != requirements(image)]
    for image in stale:
        if words == ["update"]:
            path(image).write_text(requirements(image))
        print(f"{path(image).relative_to(ROOT)} {'written' if words == ['update'] else 'is stale: make update-images'}")
    return int(bool(stale) and words == ["verify"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
