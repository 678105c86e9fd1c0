"""A resource is refused with the field and the remedy, by the same rules that the API server has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shadow.controller.checks import MOST_BYTES, check, parse, read_resource
from shadow.controller.resource import ResourceError, convert
from shadow.controller.rules import RULES
from tests.shadow.controller.cases import BROKEN, OTHER
from tests.shadow.controller.resources import document, resource


def test_the_least_is_enough() -> None:
    check(resource())


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_rule_is_refused_with_the_remedy(case: str) -> None:
    spec, told = BROKEN[case]
    with pytest.raises(ResourceError, match=r"^spec") as refused:
        check(resource(**spec))
    assert told in str(refused.value)


def test_every_rule_has_a_case() -> None:
    found = [resource(**spec) for spec, _ in BROKEN.values()]
    found += [resource("a.b"), resource("a-shadow"), resource(shadows=[OTHER, OTHER])]
    told = set()
    for each in found:
        with pytest.raises(ResourceError) as refused:
            check(each)
        told.add(next(rule for rule in RULES if str(refused.value).endswith(rule.message)))
    assert {rule for rule in RULES if rule.broken is not None} == told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"mirror": {"percent": 101}}, "spec.mirror.percent: Expected `int` <= 100"),
        ({"miror": {}}, r"^spec: Object contains unknown field `miror`: did you mean `mirror`\?$"),
        (
            {"mirror": {"precent": 5}},
            r"^spec.mirror: Object contains unknown field `precent`: did you mean `percent`\?$",
        ),
        ({"deletionpolicy": "Delete"}, r"`deletionpolicy`: did you mean `deletionPolicy`\?$"),
        ({"registryUrl": ""}, r"`registryUrl`: did you mean `registryURL`\?$"),
        (
            {"network": {"clients": [{"podselector": {}}]}},
            r"spec.network.clients\[0\]: .*did you mean `podSelector`\?$",
        ),
        (
            {"mirror": {"zzz": 1}},
            r"`zzz`: there are concurrency, fraction, percent, podTemplate, queueSeconds, replicas, ",
        ),
        ({"mirror": {"fraction": {"numerater": 1}}}, r"^spec.mirror.fraction: .*did you mean `numerator`\?$"),
        ({"podTemplate": {"spec": {"hostNetwork": True}}}, "spec.podTemplate.spec: Object contains unknown field"),
        (
            {"podTemplate": {"spec": {"containers": [{"name": "bento", "resources": {"limit": {}}}]}}},
            r"^spec.podTemplate.spec.containers\[0\].resources: .*did you mean `limits`\?$",
        ),
        ({"shadows": [{"name": "x"}]}, r"spec.shadows\[0\]: Object missing required field `model`"),
        ({"pairLog": {"destination": "/tmp/pairs"}}, "spec.pairLog.destination: Expected `str` matching regex"),
        ({"features": {"existingSecret": "s\n"}}, "spec.features.existingSecret: ends in a line feed"),
    ],
)
def test_what_the_types_refuse_is_refused_by_the_name_of_the_field(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ResourceError, match=told):
        check(convert(document(**wrong)))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a: b: c", "is no YAML"),
        (b"\xff\xfe\xff", "is no YAML"),
        (b"", "holds 0 documents"),
        (b"{}\n---\n{}\n", "holds 2 documents"),
        (b" " * (MOST_BYTES + 1), "is longer than"),
        (b"[]", "Expected `object`"),
        (b"apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {}\n", "apiVersion: Invalid enum value 'v1'"),
    ],
)
def test_what_is_no_resource_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(ResourceError, match=told):
        parse(data)


def test_a_file_is_read_as_the_api_server_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "sd.yaml"
    path.write_text("# a comment\n" + yaml.safe_dump(document()))
    assert read_resource(path) == resource()


def test_a_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"none\.yaml: cannot be read"):
        read_resource(tmp_path / "none.yaml")
