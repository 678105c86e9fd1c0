"""The URL of a Redis as it may be shown. Next module: `bentos.redis_server`."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = ("redis", "rediss", "unix")


def masked(url: str) -> str:
    """`url` without user and password, and without a query, where a password may stand too; nothing of what is no URL
    of a Redis, for who knows what it is.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the given URL"
    if parts.scheme not in SCHEMES:
        return "the given URL"
    hidden = "***@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{hidden}{host}{parts.path}"
