"""What the configuration's addresses and paths mean: `host:port`, an upstream's URL, a path that is not for everybody.

Next module: `shadow.router.config`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes, urlsplit


def is_private(target: bytes, private: frozenset[bytes]) -> bool:
    """Whether `target`, decoded as a server would, is one of the `private` paths or below one."""
    # A line feed at the end too: Starlette's routes end with `$`, which matches before one.
    path = re.sub(rb"/+", b"/", unquote_to_bytes(target.partition(b"?")[0])).rstrip(b"/\n")
    return any(path == each or path.startswith(each + b"/") for each in private)


def address(field: str, text: str) -> tuple[str, int]:
    """host and port of `host:port`; `ValueError` names the field."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{field}: {text!r} is not host:port")
    return host.strip("[]"), int(port)


def upstream(field: str, text: str) -> tuple[str, int]:
    """host and port of an upstream's URL; `ValueError` names the field."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme != "http" or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f"{field}: {text!r} is not http://host:port")
    return host, 80 if port is None else port
