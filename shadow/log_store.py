"""Where a pair log lies: a directory or a bucket (s3://, gs://, az://), through obstore; names are relative to it.

Credentials and endpoint of a bucket come from its own environment variables (`AWS_ACCESS_KEY_ID`, …);
nothing is kept here. Every call has a deadline, and reads a part of an object only: a long one over a slow link takes
its time. Tested with `file://` and `s3://`. Next module: `shadow.segments`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from shadow.durable_files import write_atomically

BUCKETS: Final = ("s3", "s3a", "gs", "az")
CHUNK_BYTES: Final = 1 << 16
RANGE_BYTES: Final = 1 << 20
"""Of an object in a bucket so much is asked for at once: the deadline of a call is one of progress, 35 kB/s at least,
and says nothing about the length of a segment."""
REQUEST_SECONDS: Final = 30
ATTEMPTS: Final = 3
"""Of reading one range."""
RETRY_SECONDS: Final = 60
"""Longest time that one call may take with all its retries."""


class PairLogError(Exception):
    """A place of a pair log that cannot be reached, read or written; the text names it and the remedy."""


class ReplacedError(PairLogError):
    """An object was written anew while it was read."""


@dataclass(frozen=True)
class Found:
    """One object: its name below the location, its size, and when it was last written (µs since the epoch)."""

    name: str
    bytes: int
    modified_us: int


class LogStore:
    """The objects at one location. Writes are whole or not there. All failures are `PairLogError`s."""

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        self._root = local_path(location) if _is_local(self.location) else None
        self._store = _store(self._root or self.location)

    @property
    def tail(self) -> tuple[str, str]:
        """The last two parts of the location: experiment and incarnation, when it is one router's directory."""
        path = self._root.resolve().as_posix() if self._root else urlsplit(self.location).path
        parts = ["", "", *path.strip("/").split("/")]
        return parts[-2], parts[-1]

    @property
    def identity(self) -> str:
        """One text for one place, however it was spelled."""
        return self._root.resolve().as_uri() if self._root else self.location.rstrip("/")

    def list(self, deepest: int = 2) -> list[Found]:
        """All objects that lie at most `deepest` directories below the location, by name."""
        import obstore

        found = []
        try:
            for batch in obstore.list(self._store, chunk_size=1000):
                found += [_found(meta) for meta in batch if meta["path"].count("/") <= deepest]
        except Exception as error:
            raise self._failure("", error) from error
        return sorted(found, key=lambda each: each.name)

    def read(self, name: str) -> bytes:
        """The whole object `name`, also one that is written anew again and again. `FileNotFoundError` without one."""
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(ReplacedError):
                return b"".join(self.chunks(name))
        return b"".join(self.chunks(name))

    def chunks(self, name: str, start: int = 0) -> Iterator[bytes]:
        """The object `name` in parts, from its byte `start` on. `FileNotFoundError` when there is none.

        All parts are of the same object: `PairLogError` when it was written anew meanwhile.
        """
        import obstore

        try:
            meta = obstore.head(self._store, name)
            if start >= meta["size"]:
                return  # a range behind the end is an error in every store
            yield from self._streamed(name, start) if self._root is not None else self._in_ranges(meta, start)
        except FileNotFoundError:
            raise
        except obstore.exceptions.PreconditionError as error:
            raise ReplacedError(f"{self._place(name)}: written anew while it was read. Read again.") from error
        except Exception as error:
            raise self._failure(name, error) from error

    def _streamed(self, name: str, start: int) -> Iterator[bytes]:
        import obstore

        options: Any = {"range": {"offset": start}} if start else None
        for chunk in obstore.get(self._store, name, options=options).stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    def _in_ranges(self, meta: Any, start: int) -> Iterator[bytes]:
        # What is read at once is of one object by itself; a manifest may be renewed every second.
        several = meta["size"] - start > RANGE_BYTES
        same = {"if_match": meta["e_tag"]} if several and meta["e_tag"] else {}
        for first in range(start, meta["size"], RANGE_BYTES):
            wanted: Any = {"range": (first, min(first + RANGE_BYTES, meta["size"]))} if several or start else {}
            yield self._range(meta["path"], wanted | same)

    def _range(self, name: str, options: Any) -> bytes:
        """One range; the library does not try again when an answer's body stops in the middle."""
        import obstore

        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(obstore.exceptions.GenericError):
                return bytes(obstore.get(self._store, name, options=options).bytes())
        return bytes(obstore.get(self._store, name, options=options).bytes())

    def write(self, name: str, data: bytes) -> None:
        """Put `data` under `name`, in the place of what may be there; on disk it survives a power cut."""
        import obstore

        try:
            if self._root is not None:
                path = self._root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data)
                return
            obstore.put(self._store, name, data)
        except Exception as error:
            raise self._failure(name, error) from error

    def delete(self, name: str) -> None:
        """Remove `name`, if it is there."""
        import obstore

        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._failure(name, error) from error

    def _failure(self, name: str, error: Exception) -> PairLogError:
        return PairLogError(
            f"{self._place(name)}: {first_line(error)}. Check that it is there, and that you may use it."
        )

    def _place(self, name: str) -> str:
        return f"{self.location.rstrip('/')}/{name}" if name else self.location


def local_path(location: str | Path) -> Path:
    """The directory behind a path or a file:// URL; `PairLogError` for other schemes and for what is no directory."""
    text = str(location)
    if "://" in text:
        parts = urlsplit(text)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise PairLogError(f"{text}: no such kind of place; give a path, file:///… or {'://, '.join(BUCKETS)}://")
        text = unquote(parts.path)
    path = Path(text)
    if not path.is_dir():
        raise PairLogError(f"{location}: {'not a directory' if path.exists() else 'nothing there'}. Give a pair log's.")
    return path


def first_line(error: BaseException) -> str:
    """What an error says, without the page of insides that obstore adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _is_local(location: str) -> bool:
    return location.partition("://")[0] not in BUCKETS or "://" not in location


def _store(place: Path | str) -> Any:
    from obstore.store import LocalStore, from_url

    if isinstance(place, Path):
        return LocalStore(place)
    try:
        return from_url(
            place,
            client_options={"timeout": f"{REQUEST_SECONDS}s", "allow_http": True},
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )
    except Exception as error:
        raise PairLogError(
            f"{place}: {first_line(error)}. Set the credentials of the bucket in the environment."
        ) from error


def _found(meta: Any) -> Found:
    return Found(meta["path"], int(meta["size"]), int(meta["last_modified"].timestamp() * 1e6))
