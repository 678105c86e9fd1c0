"""The configurations of the proxies: what the files say, with other ports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from shadow.router.config import RouterConfig, check
from tests.bench.router_proxies import (
    GONE,
    Upstreams,
    envoy_document,
    kilobyte,
    nginx_conf,
    router_document,
    upstreams_conf,
)
from tests.bench.router_stage import PEERS

TO = Upstreams(primary=9102, shadow=9101, status=15_003)
NGINX = (PEERS / "nginx-mirror.conf").read_text()
ENVOY = (PEERS / "envoy-mirror.yaml").read_text()
UPSTREAMS = (PEERS / "nginx-upstreams.conf").read_text()


def test_ports_are_changed_in_one_pass() -> None:
    conf = nginx_conf(NGINX, 15_000, TO, mirror=True)
    assert "upstream p { server 127.0.0.1:9102;" in conf
    assert "upstream s { server 127.0.0.1:9101;" in conf
    assert "listen 127.0.0.1:15000 " in conf
    assert "9001" not in conf


def test_without_a_mirror_nginx_only_passes_on() -> None:
    assert "mirror /m;" in nginx_conf(NGINX, 15_000, TO, mirror=True)
    assert "mirror /m;" not in nginx_conf(NGINX, 15_000, TO, mirror=False)


def test_nginx_looks_a_name_up_with_a_server_of_the_loopback() -> None:
    conf = nginx_conf(NGINX, 15_000, Upstreams(1, 2, GONE, dns=15_053), mirror=True)
    assert "resolver 127.0.0.1:15053;" in conf
    assert f"set $shadow {GONE}:2;" in conf
    assert "proxy_pass http://$shadow$request_uri;" in conf
    assert "proxy_pass http://p;" in conf


@pytest.mark.parametrize("mirror", [True, False])
def test_envoys_document_has_our_ports_and_the_mirror_only_when_wanted(mirror: bool) -> None:
    document = envoy_document(ENVOY, 15_000, TO, mirror)
    text = json.dumps(document)
    assert ("request_mirror_policies" in text) == mirror
    assert [int(port) for port in re.findall(r'"port_value": (\d+)', text)] == [15_000, 9102, 9101]


def test_envoys_shadow_may_have_a_name() -> None:
    clusters = envoy_document(ENVOY, 15_000, Upstreams(1, 2, GONE), True)["static_resources"]["clusters"]
    assert [cluster["type"] for cluster in clusters] == ["STATIC", "STRICT_DNS"]
    assert GONE in json.dumps(clusters[1])
    assert GONE not in json.dumps(clusters[0])


def test_the_routers_document_is_a_configuration_that_it_takes(tmp_path: Path) -> None:
    document = router_document(15_000, 15_001, tmp_path / "s", TO, ["shadow", "control"])
    config = msgspec.json.decode(msgspec.json.encode(document), type=RouterConfig)
    check(config)
    assert [arm.fraction for arm in config.arms] == [1.0, 1.0]


def test_the_large_answer_is_a_kilobyte_and_names_its_model() -> None:
    assert 900 < len(kilobyte("hybrid-v3")) < 1_150
    conf = upstreams_conf(UPSTREAMS, 15_000, 15_001, 15_002, large=True)
    bodies = re.findall(r"return 200 '(.*?)'", conf)
    assert [json.loads(body)["model"]["version"] for body in bodies] == ["hybrid-v3", "hybrid-v4"]
    small = re.findall(r"return 200 '(.*?)'", upstreams_conf(UPSTREAMS, 15_000, 15_001, 15_002, large=False))
    assert [json.loads(body)["model"] for body in small] == ["hybrid-v3", "hybrid-v4"]
    assert all(150 < len(body) < 200 for body in small)
