"""`understudy render`: the objects of a file, for kubectl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from shadow.controller.checks import read_resource
from shadow.controller.generated import EXAMPLES, RENDERED, ROOT
from shadow.controller.render import as_yaml, render, rendered
from shadow.router.config import parse_config
from tests.shadow.controller.cases import BROKEN
from tests.shadow.controller.children.test_children import named
from tests.shadow.controller.resources import ALONE, CHALLENGER, CHAMPION, document, resource

MINIMAL = str(ROOT / EXAMPLES / "minimal.yaml")
TRIAL = str(ROOT / EXAMPLES / "trial.yaml")


def run(*arguments: str, stdin: str = "") -> Any:
    return CliRunner().invoke(render, arguments, input=stdin)


def test_what_is_printed_is_what_the_operator_would_make() -> None:
    done = run("-f", TRIAL, "--serving", MINIMAL)
    assert done.exit_code == 0
    documents = list(yaml.safe_load_all(done.stdout))
    before = read_resource(Path(MINIMAL)).spec.model
    image = documents[-2]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert documents == rendered(read_resource(Path(TRIAL)), ALONE, before)
    assert image.startswith("champion:")


def test_the_routers_read_their_file() -> None:
    found = named(rendered(resource(), ALONE))
    pod = found["Deployment", "recommender-primary"]["spec"]["template"]["spec"]
    router = next(each for each in pod["initContainers"] if each["name"] == "router")
    state = ("--state", "/var/lib/understudy")
    assert router["command"] == ["understudy", "router", "--config", "/etc/understudy/router.json", *state]
    parse_config(found["ConfigMap", "recommender-router"]["data"]["router.json"].encode(), "ConfigMap")


def test_json_is_one_list() -> None:
    found = json.loads(run("-f", MINIMAL, "--json").stdout)
    assert found["kind"] == "List"
    assert {each["kind"] for each in found["items"]} >= {"Deployment", "Service", "ConfigMap", "NetworkPolicy"}


def test_a_first_model_serves_alone() -> None:
    kinds = [each["kind"] for each in rendered(resource(), ALONE)]
    assert kinds.count("Deployment") == 1


def test_what_status_says_serves_goes_on_serving() -> None:
    sd = resource(model=msgspec.to_builtins(CHALLENGER))
    sd = msgspec.structs.replace(sd, status=msgspec.structs.replace(sd.status, primary=CHAMPION))
    found = named(rendered(sd, ALONE))
    for arm, version in (("primary", CHAMPION), ("control", CHAMPION), ("shadow", CHALLENGER)):
        pod = found["Deployment", f"recommender-{arm}"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == version.image


def test_options_set_namespace_image_and_priorities() -> None:
    done = run(
        *("-f", TRIAL, "--serving", MINIMAL, "-n", "trials", "--router-image", "r:2"),
        *("--priority-class", "high", "--shadow-priority-class", "low"),
    )
    found = named(yaml.safe_load_all(done.stdout))
    assert {each["metadata"]["namespace"] for each in found.values()} == {"trials"}
    pods = {arm: found["Deployment", f"recommender-{arm}"]["spec"]["template"]["spec"] for arm in ("primary", "shadow")}
    assert [pods[arm]["priorityClassName"] for arm in ("primary", "shadow")] == ["high", "low"]
    assert {each["image"] for each in pods["primary"]["initContainers"]} == {"r:2"}


def test_a_file_may_come_by_standard_input() -> None:
    assert run("-f", "-", stdin=json.dumps(document())).exit_code == 0


def test_a_resource_that_cannot_be_is_refused_with_field_and_remedy(tmp_path: Path) -> None:
    spec, told = BROKEN["percent and fraction"]
    path = tmp_path / "sd.yaml"
    path.write_text(json.dumps(document(**spec)))
    done = run("-f", str(path))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert f"error: {path}: spec.mirror: {told}" in done.stderr


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(30, 38)])
def test_the_committed_objects_are_valid_for_kubernetes(version: str) -> None:
    for name in RENDERED:
        for each in yaml.safe_load_all((ROOT / "k8s/rendered" / name).read_text()):
            kubernetes_validate.validate(each, version, strict=True)


def test_texts_of_several_lines_stay_readable() -> None:
    assert "a: |\n  one\n  two\n" in as_yaml([{"a": "one\ntwo\n"}])
