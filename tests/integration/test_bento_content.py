"""What a bento is made of: the same inputs make the same content, and nothing of the building machine is inside."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import grimp
import pytest
import yaml

from bentos import packaging
from bentos.manifest import set_label
from bentos.pinned import SERVED
from shadow.rehearsal import command
from tests.bentos.bundles import synthetic_bundle
from tests.integration.served import environment

pytestmark = [pytest.mark.xdist_group("tampered"), pytest.mark.timeout(240)]
MARKER = "marker7391"
CHECKOUT = Path(__file__).parents[2]


def build(bundle: Path, home: Path, **variables: str) -> tuple[str, str]:
    """(tag, what was said) of `understudy bento build`."""
    done = subprocess.run(
        command("bento", "build", bundle),
        env=environment(home) | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """(the store, the bundle, the tag), built by a user, in a home and with package indexes that can be told."""
    directory = tmp_path_factory.mktemp("content")
    bundle, home = directory / MARKER / "bundle", directory / MARKER / "bentoml"
    synthetic_bundle(bundle)
    names = ("USER", "LOGNAME", "HOSTNAME", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_FIND_LINKS")
    marked = {name: f"http://{MARKER}-{name.lower()}/" for name in names}
    settings = {"UNDERSTUDY_ADMIN_TOKEN": MARKER, "UNDERSTUDY_REDIS_URL": f"redis://{MARKER}"}
    settings["UNDERSTUDY_WORKERS"] = "7"
    (directory / MARKER / "home").mkdir()
    tag, _ = build(bundle, home, HOME=str(directory / MARKER / "home"), **marked, **settings)
    return home, bundle, tag


def note(home: Path, tag: str) -> dict:
    name, version = tag.split(":")
    return json.loads((home / "bentos" / name / version / "src" / "packaged.json").read_text())


def document(home: Path, tag: str) -> dict:
    name, version = tag.split(":")
    return yaml.safe_load((home / "bentos" / name / version / "bento.yaml").read_text())


def test_nothing_of_the_building_machine_is_inside(built: tuple[Path, Path, str]) -> None:
    home, _, _ = built
    needles = [MARKER, str(CHECKOUT), str(Path.home()), sys.prefix, sys.base_prefix, tempfile.gettempdir() + "/"]
    needles += [rf"\b{re.escape(socket.gethostname())}\b", "index-url", "find-links"]
    pattern = re.compile("|".join(sorted(set(needles))).encode())
    files = [path for folder in ("bentos", "models") for path in (home / folder).rglob("*") if path.is_file()]
    assert len(files) > 30
    found = {path.relative_to(home).as_posix(): pattern.findall(path.read_bytes()) for path in files}
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_only_what_serves_is_inside_and_every_package_is_pinned(built: tuple[Path, Path, str]) -> None:
    home, _, tag = built
    name, version = tag.split(":")
    source = home / "bentos" / name / version / "src"
    code = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    graph = grimp.build_graph("bentos", "analysis")
    imported = graph.find_upstream_modules("bentos.service") | {"bentos.service"}
    expected = {f"{module.replace('.', '/')}.py" for module in imported if "." in module}
    assert code == expected | {"bentos/__init__.py", "analysis/__init__.py"}
    requirements = (home / "bentos" / name / version / "env" / "python" / "requirements.txt").read_text().split("\n")
    lines = [line for line in requirements if line]
    assert all("==" in line or ";" in line for line in lines)
    assert {line.partition("==")[0] for line in lines} >= set(SERVED)
    assert not {line.partition("==")[0] for line in lines} & {"torch", "mlflow", "scipy", "pandas"}


def test_bento_and_model_have_the_bundle_s_tag_and_the_bento_tells_its_content(built: tuple[Path, Path, str]) -> None:
    home, bundle, tag = built
    described = document(home, tag)
    assert f"{described['name']}:{described['version']}" == tag
    assert [model["tag"] for model in described["models"]] == [tag]
    assert described["services"][0]["config"]["workers"] == 1
    assert described["labels"]["content"] == note(home, tag)["content"]
    assert json.loads((bundle / "manifest.json").read_text())["version"] == tag.split(":")[1]
    assert described["image"]["base_image"] == "python:3.11-slim"
    assert described["image"]["commands"] == []


def test_the_same_inputs_make_the_same_content_and_are_not_built_twice(
    built: tuple[Path, Path, str], tmp_path: Path
) -> None:
    home, bundle, tag = built
    again, said = build(bundle, home)
    assert again == tag
    assert said.startswith("there already")
    elsewhere, said = build(bundle, tmp_path / "bentoml")
    assert (elsewhere, note(tmp_path / "bentoml", tag)) == (tag, note(home, tag))
    assert said.startswith("built")


def test_the_same_bundle_of_another_run_is_built_again_and_tells_that_run(
    built: tuple[Path, Path, str], tmp_path: Path
) -> None:
    original, bundle, tag = built
    home, retrained = tmp_path / "bentoml", tmp_path / "bundle"
    shutil.copytree(original, home, symlinks=True)
    shutil.copytree(bundle, retrained)
    set_label(retrained, "mlflow_run", "a later run")
    again, said = build(retrained, home)
    assert (again, said.startswith("built")) == (tag, True)
    assert document(home, tag)["labels"]["mlflow_run"] == "a later run"
    name, version = tag.split(":")
    stored = json.loads((home / "models" / name / version / "manifest.json").read_text())
    assert stored["labels"] == {"data_hash": "none", "mlflow_run": "a later run"}
    assert note(home, tag) == note(original, tag)
    assert build(retrained, home)[1].startswith("there already")


def test_a_bento_of_other_code_is_built_again_under_its_tag(built: tuple[Path, Path, str], tmp_path: Path) -> None:
    original, bundle, tag = built
    home = tmp_path / "bentoml"
    shutil.copytree(original, home, symlinks=True)
    name, version = tag.split(":")
    path = home / "bentos" / name / version / "src" / "packaged.json"
    path.write_text(path.read_text().replace(note(original, tag)["content"], "0" * 12))
    again, said = build(bundle, home)
    assert again == tag
    assert said.startswith("built")
    assert note(home, tag) == note(original, tag)


def test_the_content_changes_with_every_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("bentos/api.py", "one"), ("requirements.txt", "numpy==2")):
        (tmp_path / "context" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "context" / name).write_text(text)
    context = tmp_path / "context"
    found = [packaging.content_hash(context, "bundle")]
    assert packaging.content_hash(context, "bundle") == found[0]
    found.append(packaging.content_hash(context, "another bundle"))
    (context / "bentos" / "api.py").write_text("two")
    found.append(packaging.content_hash(context, "bundle"))
    (context / "bentos" / "api.py").rename(context / "bentos" / "apis.py")
    found.append(packaging.content_hash(context, "bundle"))
    (tmp_path / packaging.DOCKERFILE).write_text("FROM scratch")
    monkeypatch.setattr(packaging, "ROOM", tmp_path)
    found.append(packaging.content_hash(context, "bundle"))
    assert len(set(found)) == len(found)
