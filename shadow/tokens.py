"""Tokens that come from the environment, or from a file that it names. Used by the settings of router and operator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SHORTEST: Final = 16
"""Characters of a token, bytes of a key."""


def token(name: str, environment: Mapping[str, str]) -> bytes:
    """The token in the variable `name`, or in the file that `name`_FILE names; empty when neither is set. `ValueError`
    says what is wrong with it."""
    text, file = environment.get(name, ""), environment.get(name + "_FILE", "")
    if not text and file:
        try:
            text = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{name}_FILE: {file} cannot be read ({error})") from error
        name += "_FILE"
    if not text and not file:
        return b""
    if len(text) < SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"{name} must hold a token of at least {SHORTEST} visible ASCII characters. Make one: openssl rand -hex 32"
        )
    return text.encode()
