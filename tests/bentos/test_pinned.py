"""The packages of an image are all pinned, with what they need; `tests/cluster` has pip agree."""

from __future__ import annotations

import re

import pytest

from bentos.errors import PackagingError
from bentos.pinned import SERVED, pinned

LINE = re.compile(r"([a-z0-9-]+)(?:==[^ ;]+|[^ ]+ ; python_full_version .*)")


def names(lines: list[str]) -> set[str]:
    return {match[1] for line in lines if (match := LINE.fullmatch(line))}


def test_every_line_is_pinned_or_conditional_and_none_is_heavy() -> None:
    lines = pinned()
    assert len(names(lines)) == len(lines)
    assert set(SERVED) <= names(lines)
    assert not names(lines) & {"torch", "mlflow", "mlflow-skinny", "scipy", "pandas", "uv", "understudy-shadow"}
    assert lines == pinned(reversed(SERVED))


def test_what_a_package_needs_comes_with_it_and_extras_only_where_asked_for() -> None:
    assert names(pinned(["starlette"])) == {"starlette", "anyio", "idna", "typing-extensions"}
    assert "hiredis" not in names(pinned(["redis"]))
    assert "hiredis" in names(pinned(["redis[hiredis]"])) & names(pinned(["redis", "redis[hiredis]"]))


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(PackagingError, match="no-such-package is not installed"):
        pinned(["no-such-package"])
