"""The configuration: what is wrong is refused by the name of its field, with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shadow.router.config import Arm, ConfigError, Primary, RouterConfig, read_config

GOOD: dict[str, Any] = {
    "experiment": "demo",
    "listen": "127.0.0.1:8700",
    "admin": "127.0.0.1:8701",
    "shipper": "/run/shipper.sock",
    "primary": {"url": "http://127.0.0.1:8711", "version": "champion:abc"},
    "arms": [{"name": "shadow", "url": "http://127.0.0.1:8712"}, {"name": "control", "url": "http://127.0.0.1:8713"}],
}


def written(directory: Path, document: object) -> Path:
    path = directory / "router.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    shadow = config.arms[0]
    assert (config.primary.deadline_ms, config.unit_parameter, config.drain_seconds) == (5_000, "user_id", 10.0)
    assert (shadow.fraction, shadow.deadline_ms, shadow.queue_bytes, shadow.concurrency) == (1.0, 2_000, 64 << 20, 16)
    assert [(route.method, route.path) for route in config.routes] == [("GET", "/recommend")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fractoin": 1}, r"unknown field `fractoin`.*The fields here are: experiment, listen"),
        ({"arms": [{"name": "a", "url": "http://h:1", "speed": 1}]}, r"`speed`.*arms.*The fields here are: name, url"),
        ({"primary": {"version": "x"}}, r"missing required field `url`.*primary.*here are: url, version"),
        ({"arms": [{"name": "a", "url": "http://h:1", "fraction": 1.5}]}, r"\$\.arms\[0\]\.fraction"),
        ({"arms": [{"name": "A b", "url": "http://h:1"}]}, r"\$\.arms\[0\]\.name"),
        ({"arms": [{"name": "a", "url": "https://h:1"}]}, r"arms\.a\.url: 'https://h:1' is not http://host:port"),
        ({"arms": [{"name": "a", "url": "http://h:99999"}]}, r"arms\.a\.url"),
        ({"arms": [{"name": "a", "url": "http://h:1"}] * 2}, r"arms: the name 'a' is taken; every arm needs its own"),
        ({"arms": [{"name": "primary", "url": "http://h:1"}]}, r"arms: the name 'primary' is taken"),
        ({"listen": "8700"}, r"listen: '8700' is not host:port"),
        ({"primary": {"url": "http://127.0.0.1:8700"}}, r"primary\.url: .* this router's own address"),
        ({"routes": [{"method": "POST", "path": "/events"}]}, r"routes: /events .* never copied"),
        ({"routes": [{"method": "TRACE", "path": "/x"}]}, r"\$\.routes\[0\]\.method"),
        ({"copy_headers": ["Cookie"]}, r"copy_headers: 'Cookie' cannot be set or copied"),
        ({"copy_headers": ["X-Understudy-Hops"]}, r"copy_headers: 'X-Understudy-Hops' cannot be set or copied"),
        ({"copy_headers": ["two words"]}, r"\$\.copy_headers"),
        ({"arms": [{"name": "a", "url": "http://h:1", "headers": {"Host": "x"}}]}, r"arms\.a\.headers: 'Host' cannot"),
        ({"arms": [{"name": "a", "url": "http://h:1", "headers": {"X": "a\r\nb"}}]}, r"\$\.arms"),
        ({"arms": [{"name": "a", "url": "http://h:1", "sampling": "dice"}]}, r"\$\.arms\[0\]\.sampling"),
        ({"mode": "mirrored"}, r"\$\.mode"),
        ({"mode": "split"}, r'split: mode "split" needs it; give \{"arm": NAME'),
        (
            {"split": {"arm": "shadow", "fraction": 0.1}},
            r"split: mode is 'mirror'; remove it, or set mode to",
        ),
        ({"mode": "off", "split": {"arm": "shadow", "fraction": 0.1}}, r"split: mode is 'off'"),
        (
            {"mode": "split", "split": {"arm": "x", "fraction": 0.1}},
            r"split\.arm: there is no arm 'x'.*shadow, control",
        ),
        ({"mode": "split", "split": {"arm": "shadow", "fraction": 2}}, r"\$\.split\.fraction"),
        ({"mode": "split", "split": {"arm": "shadow"}}, r"required field `fraction`.*fields here are: arm, fraction\."),
        (
            {"mode": "split", "split": {"arm": "shadow", "fraction": 1}},
            r"arms\.control\.fraction: .* split\.fraction .* raise it, or set it to 0",
        ),
        ({"experiment": "a\n"}, r"\$\.experiment"),
        ({"arms": [{"name": "a", "url": "http://h:1", "headers": {"X": "a\n"}}]}, r"\$\.arms"),
        ({"arms": [{"name": "a", "url": "http://h:1", "headers": {"X\n": "a"}}]}, r"\$\.arms"),
        ({"arms": [{"name": "a", "url": "http://h:1", "host": "a\n"}]}, r"\$\.arms"),
        ({"arms": [{"name": "a", "url": "http://h:1", "paths": {"/recommend": "/x y"}}]}, r"\$\.arms"),
        ({"arms": [{"name": "a", "url": "http://h:1", "paths": {"/recommend": "/x\r\nb: c"}}]}, r"\$\.arms"),
        ({"arms": [{"name": "a", "url": "http://h:1", "paths": {"/recomend": "/x"}}]}, r"arms\.a\.paths: .* no route"),
        (
            {"arms": [{"name": "a", "url": "http://h:1", "paths": {"/recommend": "/events"}}]},
            r"a\.paths: /events .* never",
        ),
        ({"routes": [{"method": "POST", "path": "/%65vents/"}]}, r"routes: /%65vents/ .* never copied"),
        ({"experiment": 7}, r"\$\.experiment`\. Correct that value"),
    ],
)
def test_a_wrong_field_is_named_with_the_remedy(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_config(written(tmp_path, GOOD | change))
    assert "router.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="There must be one JSON object"):
        read_config(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json: cannot be read"):
        read_config(tmp_path / "nowhere.json")


def test_an_arm_beside_a_split_copies_more_users_nobody_or_what_is_the_primarys_alone(
    tmp_path: Path,
) -> None:
    split = {"mode": "split", "split": {"arm": "shadow", "fraction": 0.5}}
    control = {"name": "control", "url": "http://h:1", "fraction": 0.4}
    shadow = control | {"name": "shadow"}

    def arms(**change: Any) -> dict[str, Any]:
        return GOOD | split | {"arms": [shadow, control | change]}

    for change in ({"fraction": 0.0}, {"fraction": 0.500001}, {"sampling": "counter"}):
        read_config(written(tmp_path, arms(**change)))
    read_config(written(tmp_path, arms() | {"routes": [{"method": "POST", "path": "/recommend:batch"}]}))
    for change in ({}, {"fraction": 0.5}):
        with pytest.raises(ConfigError, match=r"arms\.control\.fraction"):
            read_config(written(tmp_path, arms(**change)))


def test_every_field_of_the_configuration_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "router.md").read_text()
    table = page.split("## Configuration")[1].split("## Accounts")[0]
    fields = [*RouterConfig.__struct_fields__, *Primary.__struct_fields__, *Arm.__struct_fields__]
    assert [field for field in fields if f"{field}`" not in table and field not in ("primary", "arms")] == []
