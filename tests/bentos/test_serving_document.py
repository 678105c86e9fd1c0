"""docs/serving.md names what there is: operations, settings with their defaults, metrics, bounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bentos import metrics, settings
from bentos.containers import LABEL
from bentos.messages import BATCH_MOST, K_DEFAULT, K_MOST
from bentos.openapi import DOCUMENT as OPENAPI
from bentos.requests import BODY_MOST
from bentos.settings import ServingSettings
from bentos.warm_up import CHECKED, REQUESTS

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "serving.md").read_text()
FEATURES = (DOCS / "features.md").read_text()
VARIABLES = re.findall(
    r'"""(UNDERSTUDY_\w+):', Path(settings.__file__).read_text().partition("class RegistrySettings")[0]
)
METRICS = re.findall(r'"(understudy_\w+)"', Path(metrics.__file__).read_text())


def test_every_operation_is_documented() -> None:
    for path, item in OPENAPI["paths"].items():
        for method in item:
            assert f"`{method.upper()} {path}" in DOCUMENT


@pytest.mark.parametrize("name", VARIABLES)
def test_every_setting_of_a_serving_process_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCUMENT or f"`{name}`" in FEATURES


def test_every_metric_is_documented() -> None:
    assert len(METRICS) >= 6
    for name in METRICS:
        assert f"`{name}`" in DOCUMENT


def test_the_numbers_are_those_of_the_code() -> None:
    default = ServingSettings.load({})
    for text in (
        f"`UNDERSTUDY_WORKERS` | {default.workers} |",
        f"`UNDERSTUDY_MOST_REQUESTS` | {default.most_requests} |",
        f"`UNDERSTUDY_DRAIN_SECONDS` | {default.drain_seconds:g} |",
        f"`UNDERSTUDY_REDIS_URL` | `{default.redis_url}` |",
        f"k (1–{K_MOST}, default {K_DEFAULT})",
        f"up to {BATCH_MOST} such requests",
        f"413 more than {BODY_MOST >> 20} MiB",
        f"for {CHECKED} users, and answers {REQUESTS} requests",
        f"`{LABEL}bento`",
        f"`{LABEL}content`",
    ):
        assert " ".join(text.split()) in " ".join(DOCUMENT.split()), text
