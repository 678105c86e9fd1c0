"""A bento whose parts were changed after it was built refuses to start, and its last words name the part."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shadow.processes import Stage, StepError, answers
from shadow.rehearsal import HOST, command
from tests.bentos.bundles import synthetic_bundle
from tests.integration.served import build, environment
from tests.ports import free_port

pytestmark = [pytest.mark.xdist_group("tampered"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(BENTOML_HOME, the tag of a bento in it)."""
    directory = tmp_path_factory.mktemp("tampered")
    bundle, home = directory / "bundle", directory / "bentoml"
    synthetic_bundle(bundle)
    return home, build(bundle, home)


def flip_a_bit(model: Path, bento: Path) -> str:
    path = model / "item_vectors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return "item_vectors.npy"


def change_the_dtype(model: Path, bento: Path) -> str:
    path = model / "item_vectors.npy"
    np.save(path, np.load(path).astype(np.float64))
    return "item_vectors.npy"


def put_another_bundle(model: Path, bento: Path) -> str:
    """Whole in itself, but of another model than the bento was built for."""
    note = (model / "model.yaml").read_text()
    shutil.rmtree(model)
    other = synthetic_bundle(model, seed=2).tag
    (model / "model.yaml").write_text(note)
    return other


def pin_another_model(model: Path, bento: Path) -> str:
    document = bento / "bento.yaml"
    text = document.read_text()
    tag = f"{bento.parent.name}:{bento.name}"
    other = f"{bento.parent.name}:ffffffffffff"
    assert f"tag: {tag}" in text
    document.write_text(text.replace(f"tag: {tag}", f"tag: {other}"))
    return other


@pytest.mark.parametrize("tamper", [flip_a_bit, change_the_dtype, put_another_bundle, pin_another_model])
def test_a_changed_bento_is_not_served(
    built: tuple[Path, str], tmp_path: Path, tamper: Callable[[Path, Path], str]
) -> None:
    original, tag = built
    home = tmp_path / "bentoml"
    shutil.copytree(original, home, symlinks=True)
    name, version = tag.split(":")
    named = tamper(home / "models" / name / version, home / "bentos" / name / version)
    port = free_port()
    url = f"http://{HOST}:{port}/readyz"
    with Stage(tmp_path / "logs", environment(home)) as stage:
        with pytest.raises(StepError, match=r"ended with code [1-9]") as refused:
            stage.start("bento", command("serve", tag, "--port", str(port)), lambda: answers(url), seconds=60)
        assert named in str(refused.value)


def test_a_bento_that_is_not_there_is_told_with_those_that_are(built: tuple[Path, str]) -> None:
    home, tag = built
    done = subprocess.run(
        command("serve", "champion:ffffffffffff"), env=environment(home), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: no bento champion:ffffffffffff; there are: {tag}.")
