"""docs/features.md names what there is: keys, faults, metrics, settings, commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from bentos.errors import WRITE_FAULTS
from bentos.feature_facts import facts_key
from bentos.feature_scripts import DAY_SECONDS, EventLimits
from bentos.feature_store import READ_AT_ONCE, TURN_SECONDS
from bentos.feature_versions import TTL_SECONDS, VERSIONS, loading_key, pins_key
from bentos.features import FAULTS, LAST_EVENTS, event_ids_key, events_key, features_key, seen_key, vectors_key
from bentos.features_cli import features
from bentos.metrics import STORE_GAUGES
from bentos.redis_acl import READER, WRITER
from bentos.redis_server import OPTIONS
from bentos.settings import ServingSettings

DOCUMENT = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
KEYS = [
    seen_key("{user}").decode(),
    events_key("{user}").decode(),
    event_ids_key("{user}").decode(),
    features_key("{version}"),
    pins_key("{version}"),
    loading_key("{version}"),
    facts_key("{digest}"),
    vectors_key("{version}", 0).replace(":0", ":{bucket}"),
    VERSIONS,
]


@pytest.mark.parametrize(
    "name",
    [
        *KEYS,
        *FAULTS,
        "full",
        *(f"understudy_{name}" for name in STORE_GAUGES),
        *(f"{name} {value}" for name, value in OPTIONS.items()),
        *(user.name for user in (READER, WRITER)),
    ],
)
def test_every_name_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCUMENT


def test_every_command_is_documented() -> None:
    for name in features.commands:
        assert f"understudy features {name}" in DOCUMENT


def test_the_numbers_are_those_of_the_code() -> None:
    limits = EventLimits()
    settings = ServingSettings.load({})
    for text in (
        f"last {LAST_EVENTS} events",
        f"at most {limits.seen_bytes // 1024} KiB",
        f"{limits.event_id_seconds // DAY_SECONDS} days after the last",
        f"at most {limits.event_ids:,}",
        f"default {TTL_SECONDS // DAY_SECONDS}:",
        f"`UNDERSTUDY_FEATURE_DEADLINE_MS` (default {settings.feature_deadline_ms:g})",
        f"`UNDERSTUDY_FEATURE_BATCH_DEADLINE_MS` (default {settings.feature_batch_deadline_ms:g})",
        f"It reads {READ_AT_ONCE} users in a round trip",
        f"for {TURN_SECONDS:g} s at most",
        f"`UNDERSTUDY_EVENT_DEADLINE_MS` (default {settings.event_deadline_ms:g})",
        f"`UNDERSTUDY_REDIS_CONNECTIONS` (default {settings.redis_connections})",
        f"`UNDERSTUDY_EVENT_RETENTION_DAYS` (default {settings.event_retention_days:g})",
    ):
        assert " ".join(text.split()) in " ".join(DOCUMENT.split())


def test_faults_of_a_write_are_those_of_a_read_and_two_of_its_own() -> None:
    assert set(WRITE_FAULTS) == {*FAULTS, "full", "read_only"}
