"""The packages of an image are all pinned, with what they need; `tests/cluster` has pip agree."""

from __future__ import annotations

import re
import sys
from importlib.metadata import packages_distributions

import pytest
from packaging.utils import canonicalize_name

from bentos.errors import PackagingError
from bentos.packaging import ROOMS, imported, served_code
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


def test_whatever_the_served_code_imports_is_pinned_for_its_own_sake_and_not_because_another_needs_it() -> None:
    found = {name.partition(".")[0]: path for path in served_code() for name in imported(path)}
    found = {name: found[name] for name in found.keys() - set(ROOMS) - sys.stdlib_module_names}
    # Two that are imported late, for GET /model and for the first question to Redis.
    assert {"httpx", "hiredis"} <= found.keys()
    providers = packages_distributions()
    unpinned = {
        f"{name} in {path.name}"
        for name, path in found.items()
        if not set(SERVED) & {canonicalize_name(each) for each in providers[name]}
    }
    assert unpinned == set()


def test_what_a_package_needs_comes_with_it_and_extras_only_where_asked_for() -> None:
    assert names(pinned(["starlette"])) == {"starlette", "anyio", "idna", "typing-extensions"}
    assert "hiredis" not in names(pinned(["redis"]))
    assert "hiredis" in names(pinned(["redis[hiredis]"])) & names(pinned(["redis", "redis[hiredis]"]))


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(PackagingError, match="no-such-package is not installed"):
        pinned(["no-such-package"])
