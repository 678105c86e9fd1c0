"""Both charts as their tools see them: lint, unit tests, kube-score, current pages, and values that name a slip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from shadow.controller.kinds import rules
from tests.helm.conftest import ROOT, Run

pytestmark = pytest.mark.timeout(300)
CHARTS = ("understudy", "understudy-crds")
SCENARIOS = sorted(path.name for path in (ROOT / "helm/understudy/ci").glob("*-values.yaml"))
ACCEPTED = {
    # Every tag is exact; a node that has the image needs no registry, and one of kind has none.
    "container-image-pull-policy": SCENARIOS,
    # Redis runs as its image's own user, and small servers have one page that says how they are.
    "container-security-context-user-group-id": ["dev-values.yaml"],
    "pod-probes-identical": ["dev-values.yaml"],
    # There an administrator has taken the policies over.
    "pod-networkpolicy": ["restricted-values.yaml"],
}
"""What kube-score calls critical and is meant: by the test's name, where."""
each_chart = pytest.mark.parametrize("chart", CHARTS)
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def rendered(run: Run, *arguments: str, chart: str = "understudy", namespace: str = "reco") -> str:
    done = run("helm", "template", "understudy", f"helm/{chart}", "--namespace", namespace, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@each_chart
def test_lint_has_nothing_to_say(run: Run, chart: str) -> None:
    done = run("helm", "lint", "--strict", f"helm/{chart}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout


@each_scenario
def test_each_scenario_is_linted_and_kube_score_finds_nothing_critical(run: Run, scenario: str) -> None:
    values = ("--values", f"helm/understudy/ci/{scenario}")
    assert run("helm", "lint", "--strict", "helm/understudy", *values).returncode == 0
    ignored = [part for test, where in ACCEPTED.items() if scenario in where for part in ("--ignore-test", test)]
    scored = run("kube-score", "score", "--output-format", "ci", *ignored, "-", stdin=rendered(run, *values))
    assert scored.stdout
    assert [line for line in scored.stdout.splitlines() if line.startswith("[CRITICAL]")] == []


@each_chart
def test_its_unit_tests_pass(run: Run, chart: str) -> None:
    done = run("helm-unittest", f"helm/{chart}")
    assert done.returncode == 0, done.stdout + done.stderr


@each_chart
def test_its_page_is_current(run: Run, chart: str, tmp_path: Path) -> None:
    done = run("helm-docs", "--chart-search-root", "helm", "--chart-to-generate", f"helm/{chart}", "--dry-run")
    assert done.stdout.rstrip() == (ROOT / "helm" / chart / "README.md").read_text().rstrip(), "make update-charts"


@pytest.mark.parametrize(
    "slip",
    [
        *("imagee=1", "image.tagg=1", "router.image.tagg=1", "control.existingsecret=x", "priorityClasses.made=true"),
        *("serviceAccount.names=x", "networkPolicy.enable=true", "podMonitor.on=true", "dev.enable=true", "replica=2"),
        *("extraEnv[0].name=A,extraEnv[0].vallue=b", "tolerations[0].efect=NoExecute", "resources.limit=1"),
        *("resources.limits.memroy=1Gi", "resources.requests.cpus=1", "resources.claims[0].nam=x"),
        *("networkPolicy.monitoring[0].podselector=x", "affinity.nodeaffinity=x"),
    ],
)
def test_a_misspelt_key_is_named(run: Run, slip: str) -> None:
    done = run("helm", "template", "helm/understudy", "--set", slip)
    assert done.returncode != 0
    assert f"additional properties '{slip.rpartition('=')[0].rpartition('.')[2]}' not allowed" in done.stderr


@pytest.mark.parametrize("wrong", ["image.tag=latest", "pullPolicy=Sometimes", "replicas=9", "image.digest=sha256:12"])
def test_a_value_that_cannot_be_is_refused_by_its_place(run: Run, wrong: str) -> None:
    done = run("helm", "template", "helm/understudy", "--set", wrong)
    assert done.returncode != 0
    assert f"at '/{wrong.partition('=')[0].replace('.', '/')}'" in done.stderr


@each_chart
def test_values_of_a_parent_chart_are_let_in(run: Run, chart: str) -> None:
    assert run("helm", "template", f"helm/{chart}", "--set", "global.registry=x").returncode == 0


def test_every_value_is_in_the_schema_with_a_description() -> None:
    def described(values: object, schema: dict[str, object], place: str) -> None:
        assert schema.get("description"), place
        properties = schema.get("properties")
        if isinstance(values, dict) and isinstance(properties, dict):
            for name, value in values.items():
                described(value, properties[name], f"{place}.{name}")

    schema = json.loads((ROOT / "helm/understudy/values.schema.json").read_text())
    values = yaml.safe_load((ROOT / "helm/understudy/values.yaml").read_text())
    described(values, {"description": schema["title"]} | schema, "")


def test_the_role_is_what_the_operator_says_it_does_and_no_secrets(run: Run) -> None:
    documents = yaml.safe_load_all(rendered(run, "--show-only", "templates/role.yaml"))
    (role,) = [each for each in documents if each["kind"] == "Role"]
    assert role["rules"] == rules()
    assert not any("secrets" in rule["resources"] for rule in role["rules"])


@each_chart
def test_its_version_is_the_projects(chart: str) -> None:
    about = yaml.safe_load((ROOT / "helm" / chart / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{about["appVersion"]}"' in project
    assert about["kubeVersion"] == ">=1.30.0-0"


def test_notes_say_the_next_commands(run: Run) -> None:
    done = run("helm", "install", "mine", "helm/understudy", "--namespace", "reco", "--dry-run=client")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "kubectl -n reco rollout status deployment/mine-operator" in notes
    assert "kubectl explain sd.spec" in notes


def test_releases_whose_names_could_be_joined_alike_have_no_object_in_common(run: Run) -> None:
    """Of the whole cluster: namespace and release; in one namespace: the release alone."""

    def found(namespace: str, release: str) -> set[tuple[str, str, str]]:
        command = ("helm", "template", release, "helm/understudy", "--namespace", namespace)
        done = run(*command, "--set", "priorityClasses.create=true,replicas=2")
        assert done.returncode == 0, done.stderr
        objects = [each for each in yaml.safe_load_all(done.stdout) if each]
        everywhere = [each for each in objects if each["kind"] == "PriorityClass"]
        assert len(everywhere) == 2
        return {(each["kind"], "" if each in everywhere else namespace, each["metadata"]["name"]) for each in objects}

    longest = "r" * 52
    pairs = [(("a", "b-c"), ("a-b", "c")), (("a", longest + "1"), ("a", longest + "2")), (("a", "b"), ("a", "b-test"))]
    for one, other in pairs:
        assert not found(*one) & found(*other)
