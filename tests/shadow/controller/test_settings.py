"""The operator's settings: what is needed, what is refused, and by which name."""

from __future__ import annotations

from pathlib import Path

import pytest

from shadow.controller.settings import OperatorSettings

LEAST = {
    "UNDERSTUDY_OPERATOR_NAMESPACE": "shop",
    "UNDERSTUDY_OPERATOR_ROUTER_IMAGE": "router:1",
    "UNDERSTUDY_OPERATOR_CONTROL_URL": "http://operator:8710",
}


def test_defaults_are_those_of_the_chart() -> None:
    found = OperatorSettings.load(LEAST)
    assert (found.control, found.observe) == (("0.0.0.0", 8710), ("0.0.0.0", 8711))
    assert (found.platform.router_image, found.platform.control_url) == ("router:1", "http://operator:8710")
    assert found.kubeconfig is None
    assert found.identity


def test_what_is_set_is_taken() -> None:
    more = {
        "KUBECONFIG": "/tmp/config",
        "POD_NAME": "operator-1",
        "UNDERSTUDY_OPERATOR_CONTROL": "127.0.0.1:1",
        "UNDERSTUDY_OPERATOR_PULL_POLICY": "Never",
        "UNDERSTUDY_OPERATOR_RELEASE": "mine",
        "UNDERSTUDY_OPERATOR_DEPLOYMENT": "mine-operator",
        "UNDERSTUDY_OPERATOR_SHADOW_PRIORITY_CLASS": "low",
        "UNDERSTUDY_CONTROL_TOKEN": "a-token-of-sixteen",
    }
    found = OperatorSettings.load(LEAST | more)
    assert (found.kubeconfig, found.identity, found.control) == (Path("/tmp/config"), "operator-1", ("127.0.0.1", 1))
    assert (found.platform.pull_policy, found.platform.shadow_priority_class) == ("Never", "low")
    assert (found.release, found.deployment) == ("mine", "mine-operator")
    assert found.control_token == b"a-token-of-sixteen"
    assert "a-token" not in repr(found)


@pytest.mark.parametrize("name", LEAST)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is not set"):
        OperatorSettings.load({key: value for key, value in LEAST.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UNDERSTUDY_OPERATOR_CONTROL", "8710"),
        ("UNDERSTUDY_OPERATOR_OBSERVE", "host:99999"),
        ("UNDERSTUDY_OPERATOR_PULL_POLICY", "Sometimes"),
        ("UNDERSTUDY_OPERATOR_DEADLINE_SECONDS", "0"),
        ("UNDERSTUDY_CONTROL_TOKEN", "short"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        OperatorSettings.load(LEAST | {name: value})
