"""Where closed segments go, by URL, through obstore: the shipper only ever writes there, and never looks.

Keys are `<prefix>/<experiment>/<incarnation>/<segment or manifest.json>`. An incarnation is one router's process, so no
two pods write the same key, and putting is all that the credential needs to allow. Next module: `shadow.router.budget`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from shadow.durable_files import sync
from shadow.log_store import first_line
from shadow.router.shipper_settings import NONE, ShipperSettings

FIRST_PAUSE_SECONDS: Final = 0.2
"""After the first failure in a row; it doubles with each further one."""
PART_BYTES: Final = 8 << 20
PARTS: Final = 2
"""A long segment goes up in parts of so many bytes, so many at once: what an upload holds in memory."""


class Store:
    """The destination. `ValueError` for a URL that cannot be used; nothing is asked of the store yet."""

    def __init__(self, settings: ShipperSettings) -> None:
        import obstore.store

        from_url: Any = obstore.store.from_url  # its types are one overload for each store
        url = settings.destination
        self._seconds = settings.put_seconds
        self._directory = _local(url)
        try:
            self._store: Any = (
                obstore.store.LocalStore(self._directory)
                if self._directory
                else from_url(
                    url,
                    config=_s3(settings) if url.startswith("s3:") else None,
                    client_options={
                        "timeout": timedelta(seconds=settings.put_seconds),
                        "allow_http": settings.endpoint.startswith("http://"),
                    },
                    # Attempts are counted, and their pauses jittered, here: the library's own would hide them.
                    retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=settings.put_seconds)},
                )
            )
        except Exception as error:
            raise ValueError(f"destination {url}: {first_line(error)}") from error

    @property
    def directory(self) -> Path | None:
        """The directory of a file:// destination."""
        return self._directory

    async def put(self, name: str, source: Path | bytes) -> None:
        """Store bytes or a file under `name`, whole or not at all, within `put_seconds`.

        Any failure is an exception: `FileNotFoundError` when `source` is gone, `TimeoutError`, of obstore or `OSError`.
        """
        import obstore

        async with asyncio.timeout(self._seconds):
            await obstore.put_async(self._store, name, source, chunk_size=PART_BYTES, max_concurrency=PARTS)
            if self._directory is not None:
                # The spool's copy goes next, so this one must survive a power cut.
                await asyncio.to_thread(_keep, self._directory / name)


class Doubt:
    """Whether a put that was given up may still arrive, and undo a later one of the same name.

    A store may act on a request after its sender has gone; a credential that may only write can neither look nor put on
    a condition. So what was put within `seconds` of a failure is put once more after them. What arrives later still is
    not mended.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    @property
    def stands(self) -> bool:
        """Whether an older put may come yet."""
        return self._until is not None

    def failed(self, now: float) -> None:
        """A put was given up at `now`, on the monotonic clock as all times here."""
        self._until = now + self._seconds

    def due(self, now: float) -> bool:
        """Whether it is time to put once more."""
        return self._until is not None and now >= self._until

    def succeeded(self, began: float) -> None:
        """A put that began then has ended well."""
        if self.due(began):
            self._until = None


class Backoff:
    """Pauses after failures in a row: doubling to `longest` seconds, half of each by chance, so shippers spread out."""

    def __init__(self, longest: float, random: Random) -> None:
        self._longest = longest
        self._random = random
        self.failures = 0

    def succeeded(self) -> None:
        """The next pause is the shortest again."""
        self.failures = 0

    def failed(self) -> float:
        """One more failure; the seconds to wait."""
        whole = min(self._longest, FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return whole * (1 + self._random.random()) / 2


def _local(url: str) -> Path | None:
    """The directory of a file:// URL, made if it is not there; None for other schemes."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise ValueError(f"destination {url}: give file:///… with three slashes and an absolute path")
    directory = Path(unquote(parts.path))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"destination {url}: {error.strerror}") from error
    return directory


def _s3(settings: ShipperSettings) -> dict[str, str]:
    wanted = {
        "aws_endpoint": settings.endpoint,
        "aws_server_side_encryption": settings.encryption if settings.encryption != NONE else "",
        "aws_sse_kms_key_id": settings.kms_key,
    }
    return {name: value for name, value in wanted.items() if value}


def _keep(path: Path) -> None:
    sync(path)
    sync(path.parent)
