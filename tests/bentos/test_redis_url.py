"""A URL as it may be shown."""

from __future__ import annotations

import pytest

from bentos.redis_url import masked
from bentos.settings import ServingSettings


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://me:secret@host:6379/1", "redis://***@host:6379/1"),
        ("rediss://:secret@[::1]:6379/0", "rediss://***@[::1]:6379/0"),
        ("redis://me:se@cret@host/0", "redis://***@host/0"),
        ("unix://me:secret@/run/redis.sock?db=1&password=secret", "unix://***@/run/redis.sock"),
        ("secret", "the given URL"),
        ("http://secret", "the given URL"),
        ("redis://[secret", "the given URL"),
    ],
)
def test_neither_user_nor_password_is_shown(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_settings_do_not_show_the_url_of_the_store() -> None:
    settings = ServingSettings.load({"UNDERSTUDY_REDIS_URL": "redis://me:secret@host/0"})
    assert settings.redis_url == "redis://me:secret@host/0"
    assert "secret" not in repr(settings)
