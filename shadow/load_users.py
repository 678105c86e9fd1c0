"""Whom a load asks for: those in a file, else the users of the bundle that is being served, else made-up numbers.

A service that is asked for users whom it does not know answers by popularity, which is another, cheaper path. So the
default is the service's own users: it says which bento it is (`GET /model`), and BentoML's store on this machine has
its bundle. Next module: `shadow.replay.client`, the connections.
"""

from __future__ import annotations

import json
import random
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Final

from shadow.replay.requests import ReplayError
from shadow.settings import bentoml_home

MADE_UP: Final = 1_000
IDS: Final = "user_ids.json"
"""A bundle's file of user ids, a JSON list."""
TAG: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*:[a-z0-9][a-z0-9_.-]*")
SECONDS: Final = 5.0


def users(file: Path | None, host: str, port: int) -> tuple[list[str], str]:
    """(ids, what they are in words). `ReplayError` when `file` holds none."""
    if file is not None:
        return read_users(file), f"those in {file}"
    if tag := served(host, port):
        if (found := stored(tag)) is not None:
            return found, f"the {len(found):,} of {tag}, in a random order"
        why = f"{tag} is not in this machine's BentoML store"
    else:
        why = "the service does not say which bento it is"
    told = f"1 to {MADE_UP:,}, whom it may not know and then answers by popularity: {why}. Give --users USER_IDS.JSON"
    return [str(number) for number in range(1, MADE_UP + 1)], told


def read_users(path: Path) -> list[str]:
    """User ids in `path`: a JSON list of strings, or one a line. `ReplayError` when there are none."""
    import msgspec

    content = path.read_bytes()
    try:
        found = msgspec.json.decode(content, type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = [line for line in content.decode(errors="replace").splitlines() if line]
    if not found or not all(found):
        raise ReplayError(f"{path}: no user ids; give a JSON list of them, or one a line")
    return found


def served(host: str, port: int) -> str:
    """The tag of the bento at `host`:`port`; "" when it does not tell."""
    address = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/model", timeout=SECONDS) as answer:
            return str(json.load(answer)["bento"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return ""


def stored(tag: str) -> list[str] | None:
    """The users of the bundle of `tag`, in a random order that is always the same; None when it is not stored here."""
    if not TAG.fullmatch(tag):
        return None
    # BentoML would need more than a second, only to be imported, to say the same.
    try:
        found = read_users(bentoml_home() / "models" / tag.replace(":", "/") / IDS)
    except (OSError, ReplayError):
        return None
    return random.Random(0).sample(found, len(found))
