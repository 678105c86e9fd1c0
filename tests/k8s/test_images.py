"""The images hold what their modules import, pinned, and are made as a hardened pod needs them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bentos.packaging import reached
from k8s.images.requirements import HERE, IMAGES, MLFLOW, OURS, ROOT, ROUTER, Image, main, path, requirements

ROOMS = ("analysis", "bentos", "shadow", "training")
each_of_ours = pytest.mark.parametrize("image", OURS, ids=lambda image: image.name)
each_image = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)


def packages(modules: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The packages of others that `modules` import, each with one that does."""
    found = {name.partition(".")[0]: module for module, names in modules.items() for name in names}
    return {name: found[name] for name in found.keys() - set(ROOMS) - sys.stdlib_module_names}


@each_of_ours
def test_what_its_modules_import_is_listed_for_its_own_sake(image: Image) -> None:
    found = packages(reached(image.entries, ROOMS))
    providers = packages_distributions()
    unlisted = {
        f"{name} in {module}"
        for name, module in found.items()
        if not set(image.packages) & {canonicalize_name(each) for each in providers[name]}
    }
    assert found
    assert unlisted == set()


@each_of_ours
def test_its_modules_are_of_the_rooms_that_it_holds(image: Image) -> None:
    modules = reached(image.entries, ROOMS)
    assert {module.partition(".")[0] for module in modules} == set(image.rooms)
    dockerfile = (HERE / image.name / "Dockerfile").read_text()
    copied = re.findall(r"^COPY ([a-z]+)(?:/\S+)? /src/[a-z]", dockerfile, re.MULTILINE)
    assert set(copied) == set(image.rooms)


def test_the_routers_image_has_the_modules_that_it_reaches_and_not_the_operators() -> None:
    modules = reached(ROUTER.entries, ROOMS)
    assert {module.rpartition(".")[0] for module in modules} <= {"", "shadow", "shadow.router"}


@each_image
def test_its_requirements_are_current_and_pinned(image: Image) -> None:
    assert path(image).read_text() == requirements(image)
    lines = [line for line in path(image).read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[^ ;]+( ; .*)?", line) for line in lines)
    assert set(lines) <= set((ROOT / "constraints.txt").read_text().splitlines())
    named = {line.partition("==")[0] for line in lines}
    assert set(image.packages) <= named
    assert not named & {"torch", "bentoml", "statsmodels", "scikit-learn", "matplotlib", "uv"}
    assert image is MLFLOW or not named & {"mlflow", "mlflow-skinny", "pandas"}


def test_a_stale_file_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("k8s.images.requirements.HERE", tmp_path)
    monkeypatch.setattr("k8s.images.requirements.ROOT", tmp_path)
    for image in IMAGES:
        (tmp_path / image.name).mkdir()
    assert main(["verify"]) == 1
    assert main(["update"]) == 0
    assert main(["verify"]) == 0
    assert main(["look"]) == 2


@each_image
def test_it_starts_from_an_exact_base_and_runs_as_a_number_that_is_not_root(image: Image) -> None:
    dockerfile = (HERE / image.name / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"python:3.11-slim-bookworm"}
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["65532:65532"]


def test_the_context_is_small_and_has_nothing_private() -> None:
    """`.dockerignore` lets in what the Dockerfiles copy; git tells that none of it is ignored."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {
        word
        for image in IMAGES
        for line in re.findall(
            r"^COPY (?!--from)(.*) /src/", (HERE / image.name / "Dockerfile").read_text(), re.MULTILINE
        )
        for word in line.split()
    }
    assert {
        name for name in copied if not any(name == each or name.startswith(f"{each}/") for each in allowed)
    } == set()
    ignored = subprocess.run(["git", "check-ignore", *allowed], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout == ""
