"""The packages of an image, pinned one by one: what the service imports, and all that these need, as installed here.

The image's Python is 3.11, whatever runs here, so conditions are evaluated for that. BentoML's own locking would write
this machine's index addresses into the bento (research note deploy §2.3). Next module: `bentos.packaging`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bentos.errors import PackagingError

SERVED: Final = (
    "bentoml",
    "faiss-cpu",
    "fastapi",
    "hiredis",
    "httptools",
    "httpx",
    "msgspec",
    "numpy",
    "prometheus-client",
    "pyarrow",
    "pyyaml",
    "redis",
    "starlette",
    "uvicorn",
    "uvloop",
)
"""What the service imports, and hiredis, httptools and uvloop, which redis and uvicorn use when they are there."""
PYTHON: Final = "3.11"
TARGET: Final = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    # The first of its line: what only some of the line need is told with its condition.
    "python_full_version": f"{PYTHON}.0",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
"""The image, in the terms of PEP 508."""


def pinned(names: Iterable[str] = SERVED) -> list[str]:
    """Lines `name==version` in the order of the names; `PackagingError` when one of `names` is not installed.

    A package that only another Python than this one needs is not installed here: it keeps its range and condition.
    """
    waiting = [Requirement(name) for name in names]
    found: dict[str, str] = {}
    extras: dict[str, set[str]] = {}
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        new = wanted.extras - extras.setdefault(name, set())
        if name in found and not new:
            continue
        extras[name] |= new
        try:
            found[name] = f"{name}=={version(name)}"
        except PackageNotFoundError as error:
            if wanted.marker is None:
                raise PackagingError(f"{name} is not installed, so a bento cannot be pinned: make install") from error
            found.setdefault(name, f"{name}{wanted.specifier} ; {wanted.marker}")
            continue
        waiting += [each for each in map(Requirement, requires(name) or ()) if _applies(each, extras[name])]
    return [found[name] for name in sorted(found)]


def _applies(wanted: Requirement, extras: set[str]) -> bool:
    return wanted.marker is None or any(wanted.marker.evaluate(TARGET | {"extra": each}) for each in {"", *extras})
