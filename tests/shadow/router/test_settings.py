"""The router's secrets: where they come from, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from shadow.router.settings import RouterSettings, token

KEY = {"UNDERSTUDY_UNIT_KEY": "k" * 16}
TOKEN = "t" * 16


def test_without_tokens_there_are_none() -> None:
    assert RouterSettings.load(KEY).admin_token == b""


def test_a_token_comes_from_a_variable_or_from_a_file_and_the_variable_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{'f' * 16}\n")
    both = KEY | {"UNDERSTUDY_ADMIN_TOKEN_FILE": str(file), "UNDERSTUDY_CONTROL_TOKEN": TOKEN}
    assert RouterSettings.load(both).admin_token == b"f" * 16
    assert RouterSettings.load(both).control_token == TOKEN.encode()
    assert RouterSettings.load(both | {"UNDERSTUDY_ADMIN_TOKEN": TOKEN}).admin_token == TOKEN.encode()


@pytest.mark.parametrize("text", ["short", "t" * 15, "ü" * 16, "two words of a token", "t" * 16 + "\n"])
def test_what_is_no_token_is_refused_by_the_name_of_its_variable(text: str) -> None:
    with pytest.raises(ValueError, match="UNDERSTUDY_ADMIN_TOKEN must hold"):
        token("UNDERSTUDY_ADMIN_TOKEN", {"UNDERSTUDY_ADMIN_TOKEN": text})


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_file_without_a_token_is_refused_and_never_taken_for_no_token(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match="UNDERSTUDY_ADMIN_TOKEN_FILE"):
        token("UNDERSTUDY_ADMIN_TOKEN", {"UNDERSTUDY_ADMIN_TOKEN_FILE": str(file)})


def test_secrets_are_not_shown() -> None:
    settings = RouterSettings.load(KEY | {"UNDERSTUDY_ADMIN_TOKEN": TOKEN})
    assert TOKEN not in repr(settings)
